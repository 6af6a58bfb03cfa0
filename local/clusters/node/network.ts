import { createHash } from "node:crypto";
import { execute } from "./program";

/** The two ends of the one device pair between this machine and a node. */
export interface NodeNetwork {
    readonly subnet: number;
    readonly hostDevice: string;
    readonly hostAddress: string;
    /** Address of API server, NodePorts, DNS and kubelet. */
    readonly nodeAddress: string;
}

export const nodeDevice = "eth0";
const subnets = 2 ** 14;
const ipLimit = { timeLimit: 10_000 };

/** A /30 out of 10.213.0.0/16: .1 is this machine, .2 the node. */
export function nodeNetwork(instance: string, subnet: number): NodeNetwork {
    const base = subnet * 4;
    const address = (host: number): string => `10.213.${base >> 8}.${(base & 255) + host}`;
    // A device's name holds 15 characters.
    return { subnet, hostDevice: `ml${instance.slice(0, 10)}h`, hostAddress: address(1), nodeAddress: address(2) };
}

/** The instance's own /30, or the next one that no route or address of this machine touches. */
export async function chooseSubnet(instance: string): Promise<number> {
    const first = createHash("sha256").update(instance).digest().readUInt32BE(0) % subnets;
    const used = await usedRanges(nodeNetwork(instance, 0).hostDevice);
    for (let step = 0; step < subnets; step++) {
        const subnet = (first + step) % subnets;
        if (isFree(subnet, used)) {
            return subnet;
        }
    }
    throw new Error(
        "All of 10.213.0.0/16 is in use on this machine (`ip route`); the local node needs four addresses of it.",
    );
}

/** True when nothing but the instance's own device uses the range. */
export async function subnetIsFree(network: NodeNetwork): Promise<boolean> {
    return isFree(network.subnet, await usedRanges(network.hostDevice));
}

/** Makes the pair anew, one end here and one in the namespace of `holder`, and gives both their addresses. */
export async function connect(network: NodeNetwork, holder: number, enter: readonly string[]): Promise<void> {
    const { hostDevice, hostAddress, nodeAddress } = network;
    const inside = (...args: readonly string[]): Promise<unknown> => enterRun(enter, ["ip", ...args]);
    await removeDevice(hostDevice);
    await ip("link", "add", hostDevice, "type", "veth", "peer", "name", nodeDevice, "netns", String(holder));
    await inside("link", "set", "lo", "up");
    await inside("address", "add", `${nodeAddress}/30`, "dev", nodeDevice);
    await inside("link", "set", nodeDevice, "up");
    await ip("address", "add", `${hostAddress}/30`, "dev", hostDevice);
    await ip("link", "set", hostDevice, "up");
}

export async function isConnected(network: NodeNetwork): Promise<boolean> {
    const devices = parse((await execute("ip", ["-json", "address", "show"], ipLimit)).stdout);
    return devices.some(
        (device) =>
            device["ifname"] === network.hostDevice &&
            device["operstate"] === "UP" &&
            list(device["addr_info"]).some((address) => address["local"] === network.hostAddress),
    );
}

export async function deviceExists(name: string): Promise<boolean> {
    const devices = parse((await execute("ip", ["-json", "link", "show"], ipLimit)).stdout);
    return devices.some((device) => device["ifname"] === name);
}

/** Removing one end removes the other. */
export async function removeDevice(name: string): Promise<void> {
    if (await deviceExists(name)) {
        await ip("link", "delete", name).catch(async (error: unknown) => {
            // It goes by itself when the last process of its namespace ends, perhaps just now.
            if (await deviceExists(name)) {
                throw error;
            }
        });
    }
}

function ip(...args: readonly string[]): Promise<unknown> {
    return execute("ip", args, ipLimit);
}

function enterRun(enter: readonly string[], command: readonly string[]): Promise<unknown> {
    const [program = "", ...args] = [...enter, ...command];
    return execute(program, args, ipLimit);
}

interface Range {
    readonly from: number;
    readonly to: number;
}

function isFree(subnet: number, used: readonly Range[]): boolean {
    const from = (10 << 24) + (213 << 16) + subnet * 4;
    return used.every((range) => range.to < from || range.from > from + 3);
}

/** Every IPv4 range this machine has an address or a route in, apart from the default route and the given device. */
async function usedRanges(except?: string): Promise<Range[]> {
    const routes = parse((await execute("ip", ["-json", "-4", "route", "show", "table", "all"], ipLimit)).stdout);
    return routes
        .filter((route) => route["dev"] !== except)
        .flatMap((route) => (typeof route["dst"] === "string" ? [range(route["dst"])] : []))
        .filter((found) => found !== undefined);
}

function range(destination: string): Range | undefined {
    const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)(?:\/(\d+))?$/.exec(destination);
    if (match === null) {
        return undefined;
    }
    const [a = 0, b = 0, c = 0, d = 0] = match.slice(1, 5).map(Number);
    const size = 2 ** (32 - Number(match[5] ?? "32"));
    const from = ((a * 256 + b) * 256 + c) * 256 + d;
    return { from, to: from + size - 1 };
}

function parse(json: string): Record<string, unknown>[] {
    return list(json.trim() === "" ? [] : (JSON.parse(json) as unknown));
}

function list(value: unknown): Record<string, unknown>[] {
    return Array.isArray(value) ? (value as Record<string, unknown>[]) : [];
}
