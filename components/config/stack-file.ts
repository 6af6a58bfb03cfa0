import * as fs from "node:fs";
import * as path from "node:path";
import { isMap, isScalar, LineCounter, parseDocument, type YAMLMap } from "yaml";

/**
 * The lines of a stack file, by dotted path below `config`: `ml-api:values.image.tag` → `Pulumi.dev.yaml:7`.
 * Only messages need them, so a file that is missing or broken (Pulumi has said so by then) has none.
 */
export function stackFilePlaces(file: string): ReadonlyMap<string, string> {
    const places = new Map<string, string>();
    if (!fs.existsSync(file)) return places;
    const lines = new LineCounter();
    const config = parseDocument(fs.readFileSync(file, "utf8"), { lineCounter: lines }).get("config");
    const walk = (map: YAMLMap, prefix: readonly string[]): void => {
        for (const { key, value } of map.items) {
            if (!isScalar(key) || !key.range) continue;
            const keys = [...prefix, String(key.value)];
            places.set(keys.join("."), `${path.basename(file)}:${lines.linePos(key.range[0]).line}`);
            if (isMap(value)) walk(value, keys);
        }
    };
    if (isMap(config)) walk(config, []);
    return places;
}
