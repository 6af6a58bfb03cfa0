import type { ClusterContext } from "../clusters/cluster";
import { importImage } from "../clusters/node/images";
import { holderOf, currentRecord, siteOf } from "../clusters/node/site";
import type { ImageArchive } from "./archive";

/** Puts an image into the local node's containerd, where pods find it by its reference; one that is there is left alone. */
export async function loadImage(context: ClusterContext, archive: ImageArchive): Promise<void> {
    const site = await siteOf(context);
    const holder = await holderOf(site, await currentRecord(site.files));
    if (holder === undefined) {
        throw new Error("The local node is not running, so no image can be loaded into it. `make up` starts it.");
    }
    if (await importImage(site, holder, archive)) {
        context.log(`Image ${archive.reference}: loaded into the local node`);
    }
}
