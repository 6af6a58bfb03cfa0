import { expect } from "chai";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type Verification, verification } from "../../cli/verification";
import { type Planted, recordSecret, secretList } from "./helm-records";
import { ProjectFolder } from "./project-folder";

describe("whether a deploy was verified", () => {
    let project: ProjectFolder;
    let server: Server;
    let secrets: object[];
    /** undefined: this user may not look at nodes. */
    let nodes: object[] | undefined;
    beforeEach(async () => {
        project = new ProjectFolder();
        project.addStack("dev");
        nodes = [{ metadata: { annotations: { "node.alpha.kubernetes.io/ttl": "0" } } }, { metadata: {} }];
        server = createServer((request, response) => {
            const answersNodes = request.url === "/api/v1/nodes";
            response.statusCode = answersNodes && nodes === undefined ? 403 : 200;
            response.end(answersNodes ? JSON.stringify({ items: nodes }) : secretList(...secrets));
        });
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    });
    afterEach(async () => {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
        project.remove();
    });

    const SAMPLE = { verify: { sample: { inputs: 1 } } };
    const JOB = "mf-demo-verify";
    const ask = (...planted: Planted[]): Promise<Verification> => {
        secrets = planted.map(recordSecret);
        const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
        const config = {
            "current-context": "mine",
            contexts: [{ name: "mine", context: { cluster: "c", user: "u" } }],
            clusters: [{ name: "c", cluster: { server: url } }],
            users: [{ name: "u", user: { token: "t" } }],
        };
        const KUBECONFIG = project.write(".kubeconfig", JSON.stringify(config));
        return verification(project.root, "dev", { KUBECONFIG, PATH: process.env["PATH"] });
    };
    const good: Planted = { revision: 2, values: SAMPLE, runs: { [JOB]: "Succeeded" } };

    it("is known from the Job of the revision that runs", async () => {
        expect(await ask({ revision: 1, status: "superseded" }, good)).to.deep.equal({
            verified: true,
            why: "the Job mf-demo-verify got a prediction of revision 2",
        });
        nodes = undefined;
        expect((await ask(good)).verified).to.equal(true);
    });

    for (const [what, planted, why] of [
        ["the Job failed", [{ ...good, runs: { [JOB]: "Failed" } }], "ended Failed in revision 2"],
        ["the Job did not end", [{ ...good, runs: { [JOB]: undefined } }], "did not run in revision 2"],
        ["there is no such Job", [{ ...good, runs: { other: "Succeeded" } }], "did not run in revision 2"],
        ["nobody said what to ask", [{ ...good, values: {} }], "no verify.sample"],
        ["the newest revision failed", [good, { revision: 3, status: "failed" }], "newest record is failed"],
        ["only an older revision was asked", [good, { revision: 3, values: SAMPLE }], "did not run in revision 3"],
        ["there is no release", [], "newest record is not there"],
    ] as const) {
        it(`is denied when ${what}`, async () => {
            const { verified, why: said } = await ask(...planted);
            expect(said).to.contain(why);
            expect(verified).to.equal(false);
        });
    }

    it("is denied where pods only pretend to run, and where nobody answers", async () => {
        nodes = [{ metadata: {} }, { metadata: { annotations: { "kwok.x-k8s.io/node": "fake" } } }];
        expect(await ask(good)).to.deep.equal({ verified: false, why: "the pods of this cluster only pretend to run" });
        const gone = { KUBECONFIG: project.write("gone", "clusters: []\n") };
        expect((await verification(project.root, "dev", gone)).verified).to.equal(false);
        expect((await verification(project.root, "staging", gone)).why).to.contain("Pulumi.staging.yaml");
    });
});
