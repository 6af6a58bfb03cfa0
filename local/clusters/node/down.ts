import * as fs from "node:fs/promises";
import { killMembers, removeCgroups } from "./cgroups";
import { nodeNetwork, deviceExists, removeDevice } from "./network";
import { readRecord } from "./record";
import type { Site } from "./site";

/** Whether anything of the node is on this machine. */
export async function leftovers(site: Site): Promise<readonly string[]> {
    const exists = (place: string): Promise<boolean> =>
        fs.access(place).then(
            () => true,
            () => false,
        );
    const found: string[] = [];
    for (const place of [site.files.root, ...site.mounts.roots.map((root) => `${root}/${site.cgroup}`)]) {
        if (await exists(place)) {
            found.push(place);
        }
    }
    const device = nodeNetwork(site.context.instance, 0).hostDevice;
    return (await deviceExists(device)) ? [...found, `device ${device}`] : found;
}

/**
 * Removes the node. It needs no record: processes are the members of the instance's control group, and with the last of
 * them its namespaces end, with every mount, rule and device inside.
 */
export async function down(site: Site): Promise<void> {
    const { context, files, mounts, cgroup } = site;
    if ((await leftovers(site)).length === 0) {
        return;
    }
    context.log("Removing the local node: its processes, pods, control groups, network device and files.");
    await refuseMounts(files.root);
    await killMembers(mounts, cgroup);
    await removeDevice(nodeNetwork(context.instance, (await readRecord(files.record))?.subnet ?? 0).hostDevice);
    await removeCgroups(mounts, cgroup);
    await fs.rm(files.root, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}

/** The node mounts nothing in this namespace; what somebody else mounted there would be emptied with the folder. */
async function refuseMounts(folder: string): Promise<void> {
    const lines = (await fs.readFile("/proc/self/mountinfo", "utf8")).split("\n");
    const inside = lines.map((line) => line.split(" ")[4] ?? "").filter((place) => place.startsWith(`${folder}/`));
    if (inside.length > 0) {
        throw new Error(
            `Something is mounted inside the local node's folder: ${inside.join(", ")}.\n` +
                "    → The node did not do that. Unmount it (`umount`), then run the command again.",
        );
    }
}
