import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import type { ClusterInfo } from "../../local/clusters/cluster";
import { rememberCluster } from "../../local/clusters/remembered";
import { environment, quote, toShell, withEnvironment } from "../../local/environment";
import { cacheDir, checkoutHash, stateDir } from "../../local/paths";
import { rememberedPlugins, type PluginChoice } from "../../local/plugins";
import type { Tool, ToolName } from "../../local/tools";
import { scratch, type Scratch } from "../unit/local-fakes";

describe("where things live", () => {
    it("follows ML_API_CACHE, then XDG, then the home folder", () => {
        expect(cacheDir({ ML_API_CACHE: "/c", XDG_CACHE_HOME: "/x", HOME: "/h" })).to.equal("/c");
        expect(cacheDir({ XDG_CACHE_HOME: "/x", HOME: "/h" })).to.equal("/x/ml-api");
        expect(cacheDir({ XDG_CACHE_HOME: "relative", HOME: "/h" })).to.equal("/h/.cache/ml-api");
        expect(cacheDir({ ML_API_CACHE: "", HOME: "/h" })).to.equal("/h/.cache/ml-api");
        expect(() => cacheDir({ ML_API_CACHE: "cache" })).to.throw("absolute");
        expect(stateDir("/", { XDG_STATE_HOME: "/x" })).to.equal(`/x/ml-api/${checkoutHash("/")}`);
        expect(stateDir("/", { HOME: "/h" })).to.equal(`/h/.local/state/ml-api/${checkoutHash("/")}`);
    });

    it("tells checkouts apart by their real place", () => {
        expect(checkoutHash("/tmp")).to.match(/^[0-9a-f]{10}$/);
        expect(checkoutHash("/tmp/../tmp/.")).to.equal(checkoutHash("/tmp"));
        expect(checkoutHash("/tmp")).not.to.equal(checkoutHash("/"));
    });
});

describe("the variables of a shell", () => {
    let place: Scratch;
    beforeEach(() => {
        place = scratch();
    });
    afterEach(() => {
        place.remove();
    });

    it("name the cluster, the state and the tools, and keep the rest of PATH once", async () => {
        const values = await environment(options());
        const state = join(place.path, "state");
        expect(values).to.deep.equal({
            PATH: [
                join(place.path, "checkout/node_modules/.bin"),
                "/stand-ins",
                join(place.path, "cache/pulumi-1"),
                "/usr/bin",
                "/bin",
            ].join(":"),
            KUBECONFIG: "/k",
            ML_API_CONTEXT: "c",
            KUBECACHEDIR: join(place.path, "state/kube-cache"),
            PULUMI_HOME: join(state, "pulumi-home"),
            PULUMI_BACKEND_URL: `file://${state}/pulumi`,
            PULUMI_CONFIG_PASSPHRASE_FILE: join(state, "passphrase"),
            PULUMI_SKIP_UPDATE_CHECK: "true",
            PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER: "true",
            X: "y",
        });
        for (const folder of ["pulumi", "pulumi-home"])
            expect(statSync(join(state, folder)).mode & 0o777).to.equal(0o700);
    });

    it("do not grow when they are set twice", async () => {
        const once = await environment(options());
        const twice = await environment({ ...options(), variables: { ...once, HOME: place.path } });
        expect(twice).to.deep.equal(once);
    });

    it("hold a passphrase that is made once, for the owner's eyes only", async () => {
        const { PULUMI_CONFIG_PASSPHRASE_FILE: file = "" } = await environment(options());
        const passphrase = readFileSync(file, "utf8");
        expect(passphrase).to.match(/^[\w-]{43}$/);
        expect(statSync(file).mode & 0o777).to.equal(0o600);
        await environment(options());
        expect(readFileSync(file, "utf8")).to.equal(passphrase);
    });

    it("take the kubeconfig of the cluster that is up", async () => {
        rememberCluster(join(place.path, "state"), {
            kind: "simulated",
            info: { ...cluster, kubeconfig: "/of/the/cluster" },
        });
        const rest = without(options(), "cluster");
        expect((await environment(rest))["KUBECONFIG"]).to.equal("/of/the/cluster");
    });

    it("name the context of a cluster made here, but not of one that the user has", async () => {
        expect((await environment(options()))["ML_API_CONTEXT"]).to.equal("c");
        expect(await environment({ ...options(), cluster: { ...cluster, kind: "current" } })).not.to.have.property(
            "ML_API_CONTEXT",
        );
    });

    it("cannot be had before `make up`, and say so", async () => {
        const rest = without(options(), "tools");
        const message = await environment({ ...rest, variables: { PATH: "/nowhere", HOME: place.path } }).catch(
            (error: unknown) => String(error),
        );
        expect(message).to.contain("make up");
    });

    it("reach a shell as they are, whatever is in them", () => {
        fc.assert(
            fc.property(
                fc.string({ unit: "binary", maxLength: 60 }).filter((value) => !value.includes("\0")),
                (value) => {
                    const text = toShell({ VALUE: value });
                    const seen = execFileSync("sh", ["-c", `eval "$1"; printf '%s' "$VALUE"`, "sh", text]);
                    expect(seen.toString("utf8")).to.equal(Buffer.from(value, "utf8").toString("utf8"));
                },
            ),
            { numRuns: 60 },
        );
    });

    it("cannot break out of their quotes", () => {
        expect(quote('it\'s $(touch x) `y` "z" \\ \n')).to.equal("'it'\\''s $(touch x) `y` \"z\" \\ \n'");
        expect(() => toShell({ "A; touch x": "1" })).to.throw("name of a variable");
        expect(() => quote("a\0b")).to.throw("zero byte");
    });

    it("take away what would make Pulumi ignore them", () => {
        expect(toShell({ A: "1" }))
            .to.contain("unset PULUMI_CONFIG_PASSPHRASE\n")
            .and.to.contain("export A='1'\n");
        expect(withEnvironment({ PULUMI_CONFIG_PASSPHRASE: "old", B: "2" }, { A: "1" })).to.include({
            A: "1",
            B: "2",
            PULUMI_CONFIG_PASSPHRASE: undefined,
        });
        expect(toShell({ ML_API_HELM: "/h" })).not.to.contain("unset ML_API_HELM");
    });

    it("are remembered together with the plugins that were chosen", () => {
        const helm = tool("helm", "/h/helm");
        const pulumi = tool("pulumi", place.script("cli/pulumi", "true"));
        expect(rememberedPlugins({ pulumi, helm, stateDir: join(place.path, "state") })).to.equal(undefined);
        place.file("state/plugins.json", JSON.stringify({ kind: "stand-in", line: "l" }));
        expect(
            rememberedPlugins({ pulumi, helm, stateDir: join(place.path, "state"), checkout: place.path }),
            "without their files",
        ).to.equal(undefined);
        for (const name of ["language-nodejs", "resource-kubernetes", "resource-random"])
            place.script(`local/plugins/bin/pulumi-${name}`, "true");
        expect(
            rememberedPlugins({ pulumi, helm, stateDir: join(place.path, "state"), checkout: place.path }),
        ).to.deep.equal({
            kind: "stand-in",
            line: "l",
            path: [join(place.path, "state", "stand-ins", "bin")],
            variables: { PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true", ML_API_HELM: "/h/helm" },
        });
    });

    function options(): Parameters<typeof environment>[0] & {
        cluster: ClusterInfo;
        tools: Partial<Record<ToolName, Tool>>;
    } {
        const checkout = join(place.path, "checkout");
        if (!existsSync(checkout)) mkdirSync(checkout);
        const plugins: PluginChoice = { kind: "stand-in", line: "", path: ["/stand-ins"], variables: { X: "y" } };
        return {
            checkout,
            stateDir: join(place.path, "state"),
            cacheDir: join(place.path, "cache"),
            variables: { PATH: `/usr/bin:${join(place.path, "cache/old-tool")}:/bin:/usr/bin`, HOME: place.path },
            tools: {
                pulumi: { ...tool("pulumi", join(place.path, "cache/pulumi-1/pulumi")), source: "cache" },
                helm: tool("helm", "/usr/bin/helm"),
            },
            plugins,
            cluster,
        };
    }
});

const cluster: ClusterInfo = {
    kind: "simulated",
    kubeconfig: "/k",
    context: "c",
    server: "https://s",
    podsServe: false,
};

function without<T extends object>(values: T, key: keyof T): Partial<T> {
    return Object.fromEntries(Object.entries(values).filter(([name]) => name !== key)) as Partial<T>;
}

function tool(name: ToolName, path: string): Tool {
    return { name, path, version: "1.0.0", source: "path" };
}
