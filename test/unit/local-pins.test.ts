import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { coerce, gte, validRange } from "semver";
import { checkoutRoot } from "../../local/paths";
import { pluginPins } from "../../local/plugins";
import { goVersion, groupMegabytes, pins, toolNames, type Platform } from "../../local/tools/pins";
import { askVersion, fits, readableRange } from "../../local/tools/version";

const platforms: readonly Platform[] = (["linux", "darwin"] as const).flatMap((os) =>
    (["amd64", "arm64"] as const).map((arch) => ({ os, arch })),
);

describe("the pins of the tools", () => {
    for (const name of toolNames) {
        const pin = pins[name];

        describe(name, () => {
            it("accepts its own version, and its range is valid", () => {
                expect(validRange(pin.accepts)).not.to.equal(null);
                expect(fits(pin.version, pin.accepts)).to.equal(true);
            });

            it("is built from a Go module of this repository that requires just this version, locked by go.sum", () => {
                const folder = join(checkoutRoot, "local", "tools", pin.build.group);
                const module = readFileSync(join(folder, "go.mod"), "utf8");
                const [path = "", version = ""] = pin.build.module.split("@");
                // Prometheus counts its Go module below 1: release 3.15.0 is v0.315.0.
                expect(version).to.equal(
                    pin.build.group === "prometheus"
                        ? pin.version.replace(/^(\d+)\.(\d\d)\./, "v0.$1$2.")
                        : `v${pin.version}`,
                );
                expect(module).to.contain(`${path} ${version}`);
                expect(`${pin.build.package}/`).to.contain(`${path}/`);
                expect(module, "tool line").to.match(new RegExp(String.raw`^(tool |\t)${pin.build.package}$`, "m"));
                expect(readFileSync(join(folder, "go.sum"), "utf8")).to.contain(`${path} ${version} h1:`);
                expect(gte(goVersion, coerce(/^go (\S+)$/m.exec(module)?.[1]) ?? "99.0.0"), "Go version").to.equal(
                    true,
                );
                expect(groupMegabytes).to.have.property(pin.build.group);
            });

            it("is downloaded in this version, with a checksum from the same publisher, or not at all", () => {
                for (const platform of platforms) {
                    const download = pin.download(platform);
                    if (download === undefined) continue;
                    for (const url of [download.url, download.checksums]) {
                        expect(url)
                            .to.match(/^https:\/\//)
                            .and.to.contain(pin.version);
                    }
                    expect(new URL(download.checksums).origin).to.equal(new URL(download.url).origin);
                    if (!name.startsWith("kube")) expect(download.url.toLowerCase()).to.contain(platform.os);
                }
            });
        });
    }

    it("agree about the control plane: one minor version, kubectl one away at most", () => {
        for (const name of [
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
        ] as const) {
            expect(fits("1.34.9", pins[name].accepts)).to.equal(true);
            expect(fits("1.35.0", pins[name].accepts)).to.equal(false);
            expect(fits("0.0.0-master", pins[name].accepts), "a build that does not know its version").to.equal(false);
        }
        for (const [version, expected] of [
            ["1.32.4-dispatcher", false],
            ["1.33.0", true],
            ["1.34.1-eks-113cf36", true],
            ["1.35.9", true],
            ["1.36.0-alpha.1", false],
        ] as const) {
            expect(fits(version, pins.kubectl.accepts), version).to.equal(expected);
        }
    });

    it("agree with the SDKs in package.json", () => {
        const { dependencies } = JSON.parse(readFileSync(join(checkoutRoot, "package.json"), "utf8")) as {
            dependencies: Record<string, string>;
        };
        expect(pins.pulumi.version).to.equal(dependencies["@pulumi/pulumi"]);
        expect(pluginPins["pulumi-language-nodejs"].version).to.equal(dependencies["@pulumi/pulumi"]);
        expect(pluginPins["pulumi-resource-kubernetes"].version).to.equal(dependencies["@pulumi/kubernetes"]);
        expect(pluginPins["pulumi-resource-random"].version).to.equal(dependencies["@pulumi/random"]);
    });

    for (const [name, output, version] of [
        ["pulumi", "v3.259.0", "3.259.0"],
        ["helm", "v3.20.2+gabc", "3.20.2+gabc"],
        ["kubectl", '{\n  "clientVersion": {\n    "gitVersion": "v1.34.4"\n  }\n}', "1.34.4"],
        ["etcd", "etcd Version: 3.6.10\nGit SHA: x", "3.6.10"],
        ["kubelet", "Kubernetes v1.34.4-k3s1", "1.34.4-k3s1"],
        ["kwok", "kwok version v0.8.0 go1.26.8 (linux/amd64)", "0.8.0"],
        ["kwokctl", "kwokctl version v0.8.0 go1.26.8 (linux/amd64)", "0.8.0"],
        ["coredns", "CoreDNS-1.15.0\nlinux/amd64, go1.26.8, ", "1.15.0"],
        ["kubeconform", "v0.8.0", "0.8.0"],
        ["kube-score", "kube-score version: 1.20.0, commit: none, built: unknown", "1.20.0"],
        ["helm-3.18", "v3.18.6", "3.18.6"],
        ["crane", "0.22.1", "0.22.1"],
        ["promtool", "promtool, version 3.15.0 (branch: , revision: unknown)\n  build user:", "3.15.0"],
        ["prometheus", "prometheus, version 3.15.0 (branch: , revision: unknown)\n  build user:", "3.15.0"],
        ["kube-network-policies", "\x00dep\tsigs.k8s.io/kube-network-policies\tv0.8.0\th1:dz=\n", "0.8.0"],
        ["actionlint", "v1.7.12\ninstalled by building from source", "1.7.12"],
    ] as const) {
        it(`know what ${name} prints`, () => {
            expect(pins[name].versionPattern.exec(output)?.[1]).to.equal(version);
        });
    }

    it("ask nothing of a program that cannot tell: they read it", async () => {
        const folder = mkdtempSync(join(tmpdir(), "ml-api-version-"));
        const notRun = () => Promise.reject(new Error("it was run"));
        const ask = (text: string) => {
            writeFileSync(join(folder, "engine"), text);
            return askVersion(join(folder, "engine"), pins["kube-network-policies"], notRun, {}, 1000);
        };
        try {
            const module = "sigs.k8s.io/kube-network-policies";
            expect(await ask(`\x7fELF\xffdep\t${module}\tv0.8.1\th1:dz=\n`)).to.deep.equal({ version: "0.8.1" });
            expect(await ask(`\x7fELF\xff${module}/cmd`)).to.deep.equal({
                problem: "it does not say which version it was built from",
            });
        } finally {
            rmSync(folder, { recursive: true });
        }
    });

    it("are shown as ranges people can read", () => {
        expect(readableRange(">=1.34.0 <1.35.0-0")).to.equal(">=1.34.0 <1.35.0");
    });
});
