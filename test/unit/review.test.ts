import { expect } from "chai";
import fc from "fast-check";
import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";
import { generated } from "../../branching/generators";
import { MAP_FILE, parseBranchMap, stacksByEnvironment } from "../../branching/map";
import {
    isExpired,
    requestNumber,
    reviewNamespace,
    reviewStackFile,
    reviewStackName,
    reviewStacksIn,
} from "../../branching/review";
import { readStack } from "../../components/config/stack";
import { ProjectFolder } from "./project-folder";

const ROOT = path.resolve(__dirname, "../..");
const stacks = stacksByEnvironment(ROOT);
const source = fs.readFileSync(path.join(ROOT, MAP_FILE), "utf8");
const WORKFLOW = ".github/workflows/review.yaml";

describe("review stacks: names", () => {
    const label = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;

    it("come from the stack and the number of the pull request, and are found again by them", () => {
        expect(reviewStackName("dev", 12)).to.equal("dev-review-12");
        expect(reviewNamespace("churn", "dev-review-12")).to.equal("churn-dev-review-12");
        const all = [
            { name: "dev" },
            { name: "dev-review-12", lastUpdate: "2026-11-22T12:00:00.000Z" },
            { name: "acme/ml-api/churn-dev-review-7", lastUpdate: "n/a" },
            { name: "dev-review-" },
            { name: "dev-review-07" },
            { name: "dev-review-1x" },
        ];
        expect(reviewStacksIn(all)).to.deep.equal([
            { stack: "dev-review-12", number: 12, lastUpdate: "2026-11-22T12:00:00.000Z" },
            { stack: "churn-dev-review-7", number: 7 },
        ]);
    });

    it("are DNS labels for any API, stack and number, and two never become one", () => {
        const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,51}[a-z0-9]$/);
        const stack = fc.stringMatching(/^[A-Za-z][A-Za-z0-9_-]{0,60}$/);
        fc.assert(
            fc.property(name, stack, fc.integer({ min: 1, max: 999_999_998 }), (api, of, number) => {
                const one = reviewNamespace(api, reviewStackName(of, number));
                expect(one).to.match(label);
                expect(reviewNamespace(api, reviewStackName(of, number + 1))).not.to.equal(one);
                expect(reviewNamespace(api, reviewStackName(`${of}x`, number))).not.to.equal(one);
            }),
        );
    });

    it("take numbers only", () => {
        expect(requestNumber("12")).to.equal(12);
        for (const text of ["", "0", "-1", "1.5", "07", "1e3", "12 ", "12\n", "x", "1234567890", "$(id)"])
            expect(() => requestNumber(text), text).to.throw("is no number of a pull request");
    });

    it("have had their time so many hours after the last deploy, or when there was none", () => {
        const now = new Date("2026-11-22T12:00:00Z");
        const at = (lastUpdate?: string) => ({
            stack: "a",
            number: 1,
            ...(lastUpdate === undefined ? {} : { lastUpdate }),
        });
        expect(isExpired(at("2026-11-22T11:00:00Z"), 2, now)).to.equal(false);
        expect(isExpired(at("2026-11-22T09:59:59Z"), 2, now)).to.equal(true);
        expect(isExpired(at(), 2, now)).to.equal(true);
    });
});

describe("review stacks: the stack file", () => {
    it("is the other stack's, small, in its own namespace, without what is not its own", () => {
        const project = new ProjectFolder();
        try {
            project.addStack("dev", "replicas: 4\n");
            const text = [
                "encryptionsalt: v1:abc",
                "config:",
                "  ml-api:environment: dev",
                "  ml-api:protect: 'true'",
                "  ml-api:namespace: shared",
                "  ml-api:keyGeneration: '3'",
                "  ml-api:apiKey: { secure: v1:xyz }",
                "  other:token: { secure: v1:xyz }",
                "  kubernetes:context: cluster-a",
                "  ml-api:values: { env: { A: 1 }, replicas: 3 }",
                "",
            ].join("\n");
            const values = { resources: { requests: { cpu: "10m" } } };
            const own = reviewStackFile(text, "ml-api", { namespace: "mf-demo-dev-review-1", values });
            project.write("Pulumi.dev-review-1.yaml", own);
            expect(own).not.to.match(/secure|encryptionsalt|protect/);
            expect(own).to.contain("kubernetes:context: cluster-a");
            const settings = readStack(project.root, "dev-review-1");
            expect(settings).to.deep.include({ namespace: "mf-demo-dev-review-1", createNamespace: false });
            expect(settings).to.deep.include({ protect: false, keyGeneration: 1, environment: "dev" });
            expect(settings.values).to.deep.include({ replicas: 1, env: { A: 1 }, ...values });
            expect(settings.values["ingress"]).to.deep.equal({ enabled: false });
        } finally {
            project.remove();
        }
    });
});

describe("review stacks: the workflow", () => {
    const on = parseBranchMap(`${source}\nreview: { of: dev, hours: 72, atMost: 5 }\n`, stacks);

    it("is not there unless the map asks for it, and then for pull requests into the branches of that environment", () => {
        expect(generated(ROOT, parseBranchMap(source, stacks), stacks).get(WORKFLOW)).to.equal("");
        expect(fs.existsSync(path.join(ROOT, WORKFLOW))).to.equal(false);
        const { on: starts } = parse(generated(ROOT, on, stacks).get(WORKFLOW) ?? "") as {
            on: { pull_request: { branches: string[]; types: string[] } };
        };
        expect(starts.pull_request.branches).to.deep.equal(["dev"]);
        expect(starts.pull_request.types).to.include("closed");
    });
});
