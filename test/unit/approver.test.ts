import { expect } from "chai";
import { approverOf } from "../../cli/approver";
import { type FakeOrigin, fakeOrigin } from "./local-fakes";

describe("who agreed to a deploy of a GitHub workflow", () => {
    let github: FakeOrigin;
    let answer: { status: number; body: string };
    let authorization: string | undefined;
    const said: string[] = [];

    before(async () => {
        github = await fakeOrigin((request, response) => {
            authorization = request.headers.authorization;
            response.writeHead(answer.status).end(answer.body);
        });
    });
    after(() => github.close());
    beforeEach(() => {
        said.length = 0;
    });

    const ask = (more: NodeJS.ProcessEnv = {}): Promise<string | undefined> =>
        approverOf(
            "production",
            {
                ...{ GITHUB_API_URL: github.url, GITHUB_REPOSITORY: "team/apis", GITHUB_RUN_ID: "42", GH_TOKEN: "t" },
                ...more,
            },
            (text) => said.push(text),
        );
    const review = (login: string, state = "approved", name = "production"): object => ({
        ...{ state, comment: "" },
        ...{ user: { login }, environments: [{ name }] },
    });
    const reviews = (...all: object[]): void => {
        answer = { status: 200, body: JSON.stringify(all) };
    };

    it("is asked of the run's own reviews, with its token", async () => {
        reviews(review("grace"));
        expect(await ask()).to.equal("grace");
        expect(github.requests.at(-1)).to.equal("GET /repos/team/apis/actions/runs/42/approvals");
        expect(authorization).to.equal("Bearer t");
    });

    it("is everybody who approved this environment, and nobody who rejected it or approved another", async () => {
        reviews(review("grace"), review("eve", "rejected"), review("alan", "approved", "staging"), review("ada"));
        expect(await ask()).to.equal("grace, ada");
        reviews(review("alan", "approved", "staging"));
        expect(await ask()).to.equal(undefined);
        reviews();
        expect(await ask()).to.equal(undefined);
        expect(said).to.deep.equal([]);
    });

    it("is nobody outside of a workflow's run", async () => {
        const before = github.requests.length;
        expect(await ask({ GH_TOKEN: "" })).to.equal(undefined);
        expect(await approverOf("production", {})).to.equal(undefined);
        expect(github.requests).to.have.lengthOf(before);
    });

    it("stays unknown, and that is said, where GitHub does not tell; the deploy is recorded all the same", async () => {
        answer = { status: 403, body: "{}" };
        expect(await ask()).to.equal(undefined);
        answer = { status: 200, body: "no JSON" };
        expect(await ask()).to.equal(undefined);
        expect(await ask({ GITHUB_API_URL: "http://127.0.0.1:1" })).to.equal(undefined);
        expect(said).to.have.lengthOf(3);
        expect(said[0]).to.equal("who agreed to this deploy is not known: GitHub answers 403");
    });
});
