import type { ImageArchive } from "../../image/archive";
import type { RunResult } from "../../run";
import { containerdSocket } from "./configuration";
import { enterCommand } from "./namespaces";
import { execute } from "./program";
import { nodeParts, type Site } from "./site";

/** Puts an image into the node's containerd; one that is there already is left alone, which its tag makes safe. True when it was new. */
export async function importImage(site: Site, holder: number, archive: ImageArchive): Promise<boolean> {
    const packages = await nodeParts(site.context);
    const [program = "", ...words] = enterCommand(holder);
    const ctr = (...args: readonly string[]): Promise<RunResult> =>
        execute(
            program,
            [
                ...words,
                packages.program("usr/bin/ctr"),
                "--address",
                containerdSocket,
                "--namespace",
                "k8s.io",
                ...args,
            ],
            { timeLimit: 180_000, variables: packages.env, signal: site.context.signal },
        );
    const listed = await ctr("images", "list", "--quiet", `name==${archive.reference}`);
    if (listed.stdout.split("\n").includes(archive.reference)) {
        return false;
    }
    await ctr("images", "import", archive.file);
    return true;
}
