import { expect } from "chai";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { findCluster } from "../../components/config/cluster";

describe("the cluster of a stack", () => {
    let folder: string;
    before(() => {
        folder = fs.mkdtempSync(path.join(os.tmpdir(), "kubeconfig-"));
    });
    after(() => {
        fs.rmSync(folder, { recursive: true });
    });

    function kubeconfig(name: string, user: object, current = name): string {
        const file = path.join(folder, `${name}.yaml`);
        const config = {
            "current-context": current,
            contexts: [{ name, context: { cluster: "c", user: "u" } }],
            clusters: [{ name: "c", cluster: { server: "https://127.0.0.1:6443" } }],
            users: [{ name: "u", user }],
        };
        fs.writeFileSync(file, JSON.stringify(config));
        return file;
    }

    it("is unknown without a kubeconfig, and a preview does without it", () => {
        expect(findCluster(undefined, { KUBECONFIG: path.join(folder, "none") })).to.equal(undefined);
    });

    it("is the current context's, and then not pinned", () => {
        const KUBECONFIG = kubeconfig("kind-dev", { token: "t" });
        expect(findCluster(undefined, { KUBECONFIG })).to.deep.equal({
            context: "kind-dev",
            server: "https://127.0.0.1:6443",
            access: "kubectl config use-context kind-dev",
            pinned: false,
        });
    });

    it("is pinned by the stack, or by the local environment, which also gives access to it", () => {
        const KUBECONFIG = kubeconfig("local", { token: "t" });
        expect(findCluster("local", { KUBECONFIG })?.pinned).to.equal(true);
        expect(findCluster(undefined, { KUBECONFIG, ML_API_CONTEXT: "local" })).to.deep.include({
            pinned: true,
            access: 'eval "$(npx --no ml-api env)"',
        });
    });

    it("is reached by the cloud's own log-in command", () => {
        const eks = kubeconfig("prod", {
            exec: { command: "aws", args: ["--region", "eu-west-1", "eks", "get-token", "--cluster-name", "ml"] },
        });
        expect(findCluster(undefined, { KUBECONFIG: eks })?.access).to.equal(
            "aws eks update-kubeconfig --name ml --region eu-west-1 --alias prod",
        );
        const gke = kubeconfig("gke_proj_europe-west1_ml", { exec: { command: "gke-gcloud-auth-plugin" } });
        expect(findCluster(undefined, { KUBECONFIG: gke })?.access).to.equal(
            "gcloud container clusters get-credentials ml --location europe-west1 --project proj",
        );
    });

    it("merges several kubeconfig files as kubectl does", () => {
        const KUBECONFIG = [kubeconfig("first", { token: "t" }), kubeconfig("second", { token: "t" })].join(
            path.delimiter,
        );
        expect(findCluster(undefined, { KUBECONFIG })?.context).to.equal("first");
        expect(findCluster("second", { KUBECONFIG })?.context).to.equal("second");
    });

    it("is refused when the context does not exist, with the nearest name", () => {
        const KUBECONFIG = kubeconfig("kind-dev", { token: "t" });
        expect(() => findCluster("kind-dve", { KUBECONFIG })).to.throw(
            'there is no context "kind-dve", did you mean "kind-dev"?',
        );
    });

    it("is refused when its user has no credential, where the provider would wait at a prompt for ever", () => {
        const KUBECONFIG = kubeconfig("bare", {});
        expect(() => findCluster(undefined, { KUBECONFIG })).to.throw(
            'the user "u" of context "bare" has no credential',
        );
    });

    it("is refused when the kubeconfig is not YAML", () => {
        const file = path.join(folder, "broken.yaml");
        fs.writeFileSync(file, "a: [");
        expect(() => findCluster(undefined, { KUBECONFIG: file })).to.throw("cannot be read as YAML");
    });
});
