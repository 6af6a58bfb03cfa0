import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

/** Takes the model out of an image's archive, where it lies in the last layer; the path of its folder below `folder`. */
export function modelIn(image: string, folder: string): string {
    const tar = (...args: readonly string[]) => execFileSync("tar", args, { maxBuffer: 1 << 30 });
    const [manifest] = JSON.parse(tar("-xOf", image, "manifest.json").toString()) as { Layers: string[] }[];
    const layer = path.join(folder, "layer.tar");
    fs.writeFileSync(layer, tar("-xOf", image, manifest?.Layers.at(-1) ?? ""));
    tar("-xf", layer, "-C", folder, "app/model");
    fs.rmSync(layer);
    return path.join(folder, "app", "model");
}
