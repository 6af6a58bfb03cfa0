import * as pulumi from "@pulumi/pulumi";
import { expect } from "chai";
import { deploymentSettings } from "../../deployments/stack-settings";
import settings from "../../deployments/settings.json";

interface Registered {
    readonly type: string;
    readonly name: string;
    readonly inputs: Readonly<Record<string, unknown>>;
}

describe("Pulumi Deployments", () => {
    const registered: Registered[] = [];

    before(async () => {
        await pulumi.runtime.setMocks({
            newResource: ({ type, name, inputs }) => {
                registered.push({ type, name, inputs: inputs as Registered["inputs"] });
                return { id: name, state: inputs as Record<string, unknown> };
            },
            call: () => ({}),
        });
        deploymentSettings(settings, { organization: "acme", project: "ml-api", repository: "acme/churn" });
        await pulumi.runtime.disconnect();
    });

    it("deploys dev when its branch moves, after the checks, and looks for drift", () => {
        expect(registered.map(({ type, name }) => `${type} ${name}`)).to.deep.equal([
            "pulumiservice:index:DeploymentSettings dev",
            "pulumiservice:index:DriftSchedule dev",
        ]);
        const [own, drift] = registered;
        expect(own?.inputs).to.deep.include({
            organization: "acme",
            project: "ml-api",
            stack: "dev",
            sourceContext: { git: { branch: "refs/heads/dev" } },
        });
        expect(own?.inputs["vcs"]).to.deep.include({
            provider: "github",
            repository: "acme/churn",
            deployCommits: true,
            previewPullRequests: true,
        });
        expect(drift?.inputs).to.deep.include({ stack: "dev", scheduleCron: "17 * * * *", autoRemediate: false });
    });

    it("watches chart, values, program and lock file, and not the documentation", () => {
        const { paths } = registered[0]?.inputs["vcs"] as { paths: string[] };
        expect(paths).to.include.members([
            "chart/**",
            "components/**",
            "index.ts",
            "Pulumi.yaml",
            "Pulumi.dev.yaml",
            "package-lock.json",
            "!**/*.md",
        ]);
        const { preRunCommands } = registered[0]?.inputs["operationContext"] as { preRunCommands: string[] };
        expect(preRunCommands[0]).to.equal("npm ci");
        expect(preRunCommands[1]).to.contain("ml-api check");
    });
});
