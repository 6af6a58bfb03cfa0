import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import type { UnpackedPackages } from "../debian";
import { archiveFolder, type ImageArchive } from "./archive";

/** Sleeps, ends when it is told to, and collects the pod's orphaned processes, which is all a pause process does. */
const pause = "trap 'exit 0' TERM INT; while :; do /bin/busybox sleep 3600 & wait $!; done";

/** The image of the process that holds a pod's namespaces open: a static shell and nothing else. */
export async function pauseImage(cacheDir: string, packages: UnpackedPackages): Promise<ImageArchive> {
    const busybox = packages.program("bin/busybox");
    const tag = createHash("sha256")
        .update(pause)
        .update(await fs.readFile(busybox))
        .digest("hex")
        .slice(0, 16);
    const reference = `localhost/ml-api-pause:${tag}`;
    const file = path.join(cacheDir, "images", `ml-api-pause-${tag}.tar`);
    if (
        await fs.access(file).then(
            () => true,
            () => false,
        )
    ) {
        return { reference, file };
    }
    await fs.mkdir(path.dirname(file), { recursive: true });
    const folder = `${file}.root-${process.pid}`;
    try {
        await fs.mkdir(path.join(folder, "bin"), { recursive: true, mode: 0o755 });
        await fs.chmod(folder, 0o755);
        await fs.copyFile(busybox, path.join(folder, "bin", "busybox"));
        await fs.chmod(path.join(folder, "bin", "busybox"), 0o755);
        const config = { Entrypoint: ["/bin/busybox", "sh", "-c", pause] };
        return await archiveFolder({ folder, reference, file, config, tar: ["--owner=0", "--group=0"] });
    } finally {
        await fs.rm(folder, { recursive: true, force: true });
    }
}
