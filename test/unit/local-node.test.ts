import { expect } from "chai";
import * as fc from "fast-check";
import { aptSettings } from "../../local/debian";
import { fingerprint, type Daemon } from "../../local/clusters/node/processes";
import { nodeNetwork } from "../../local/clusters/node/network";

describe("the network of a local node", () => {
    it("is a /30 of 10.213.0.0/16, with this machine at .1 and the node at .2", () => {
        expect(nodeNetwork("0123456789", 0)).to.deep.equal({
            subnet: 0,
            hostDevice: "ml0123456789h",
            hostAddress: "10.213.0.1",
            nodeAddress: "10.213.0.2",
        });
        expect(nodeNetwork("0123456789", 65)).to.include({ hostAddress: "10.213.1.5", nodeAddress: "10.213.1.6" });
    });

    it("never leaves that range, never meets another one, and has device names that Linux takes", () => {
        fc.assert(
            fc.property(fc.nat(2 ** 14 - 1), fc.nat(2 ** 14 - 1), (one, other) => {
                const [first, second] = [nodeNetwork("0123456789", one), nodeNetwork("abcdef0123", other)];
                expect(first.nodeAddress).to.match(/^10\.213\.\d{1,3}\.\d{1,3}$/);
                expect(first.nodeAddress.split(".").every((part) => Number(part) <= 255)).to.equal(true);
                expect(first.nodeAddress === second.nodeAddress).to.equal(one === other);
                expect(first.hostDevice.length).to.be.at.most(15);
            }),
        );
    });
});

describe("a daemon's fingerprint", () => {
    const daemon: Daemon = { name: "etcd", command: "/etcd", args: ["--a"], env: { PATH: "/bin" }, configuration: "" };

    it("is the same for the same start and differs with program, arguments, environment or configuration", () => {
        const others: readonly Partial<Daemon>[] = [
            { command: "/other" },
            { args: ["--b"] },
            { env: { PATH: "/sbin" } },
            { configuration: "level: 1" },
        ];
        const prints = [daemon, ...others.map((change) => ({ ...daemon, ...change }))].map(fingerprint);
        expect(fingerprint({ ...daemon })).to.equal(prints[0]);
        expect(new Set(prints).size).to.equal(prints.length);
    });
});

describe("the settings of the private apt", () => {
    const dump = [
        'APT::Architecture "amd64";',
        'APT::Update::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb";',
        'DPkg::Post-Invoke:: "echo";',
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::IndexTargets::deb::DEP-11::MetaKey "x";',
        'Dir::Cache "var/cache/apt";',
    ].join("\n");
    const lines = aptSettings("/cache/apt", dump).split("\n");

    it("keep how the system reaches its sources", () => {
        expect(lines).to.include('Acquire::http::Proxy "http://proxy.example:3128";');
    });

    it("have no hook of the system, which would clean the system's own cache", () => {
        expect(lines.filter((line) => /Post-Invoke|DPkg/.test(line))).to.deep.equal([]);
    });

    it("put everything that apt writes into the given folder", () => {
        const places = lines.flatMap((line) => /^Dir::(?!Etc)\S+ "(.*)";$/.exec(line)?.[1] ?? []);
        expect(places.length).to.be.at.least(5);
        expect(places.every((place) => place.startsWith("/cache/apt"))).to.equal(true);
    });
});
