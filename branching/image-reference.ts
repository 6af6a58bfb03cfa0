import * as fs from "node:fs";
import * as path from "node:path";
import { didYouMean } from "../components/config/nearest";
import type { Problem } from "../components/config/problem";
import { shown } from "./resolve";

/** An image by its digest; the tag only tells people which one it is. */
export interface ImageReference {
    readonly repository: string;
    /** Empty without one. */
    readonly tag: string;
    /** `sha256:` and 64 hexadecimal digits. */
    readonly digest: string;
}

/** What the chart accepts as a part of an image's name. */
export interface ImagePatterns {
    readonly repository: RegExp;
    readonly tag: RegExp;
    readonly digest: RegExp;
}

/** The patterns of `chart/values.schema.json`. */
export function imagePatterns(root: string): ImagePatterns {
    const schema = JSON.parse(fs.readFileSync(path.join(root, "chart", "values.schema.json"), "utf8")) as {
        properties: { image: { properties: Record<keyof ImagePatterns, { pattern: string }> } };
    };
    const { repository, tag, digest } = schema.properties.image.properties;
    return {
        repository: new RegExp(repository.pattern),
        tag: new RegExp(tag.pattern),
        digest: new RegExp(digest.pattern),
    };
}

const FORM = "repository@sha256:… or repository:tag@sha256:…, such as ghcr.io/team/churn@sha256:…";

/**
 * Takes `repository@sha256:…` or `repository:tag@sha256:…` apart.
 *
 * @param registries where images may come from; only for a hint at a slip of the fingers
 * @returns the parts, or everything that is wrong with them
 */
export function parseImageReference(
    text: string,
    patterns: ImagePatterns,
    registries: readonly string[] = [],
): ImageReference | readonly Problem[] {
    const where = shown(text);
    const strange = /[^\x21-\x7e]/u.exec(text)?.[0];
    if (text === "") return [{ where: "image", what: "there is no reference", fix: `write ${FORM}` }];
    if (strange !== undefined) {
        const code = (strange.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
        return [
            {
                where,
                what: `it has the character U+${code}, which no image's name has${/\s/u.test(strange) ? "" : ", even if it looks like one that has"}`,
                fix: "copy the reference again, or type it",
            },
        ];
    }
    const scheme = /^[a-z]+:\/\//i.exec(text)?.[0];
    if (scheme !== undefined)
        return [{ where, what: `an image's name does not begin with ${scheme}`, fix: `leave it away: ${FORM}` }];
    const problems: Problem[] = [];
    const report = (what: string, fix: string): void => void problems.push({ where, what, fix });

    const [name = "", ...digests] = text.split("@");
    const [digest = ""] = digests;
    const colon = name.lastIndexOf(":");
    const hasTag = colon > name.lastIndexOf("/");
    const repository = hasTag ? name.slice(0, colon) : name;
    const tag = hasTag ? name.slice(colon + 1) : "";

    if (repository === "" || !patterns.repository.test(repository)) {
        const small = repository.toLowerCase();
        const hint = small !== repository && patterns.repository.test(small) ? `; ${small} would be one` : "";
        report(`"${repository}" is no image's name: lower-case letters, digits and . _ - between slashes${hint}`, FORM);
    }
    if (hasTag && (tag === "" || !patterns.tag.test(tag)))
        report(`"${tag}" is no tag`, "letters, digits and . _ -, at most 128");
    if (digests.length > 1) report(`it has ${digests.length} digests`, FORM);
    else if (digests.length === 0)
        report(
            "it has no digest, and a tag can become another image under the same name",
            `docker buildx imagetools inspect ${text} prints it: ${FORM}`,
        );
    else if (digest === "" || !patterns.digest.test(digest))
        report(digestFault(digest), "sha256: and 64 digits 0-9 a-f");

    if (problems.length > 0) return problems;
    const host = repository.split("/")[0] ?? "";
    const hosts = registries.map((registry) => registry.split("/")[0] ?? "");
    const meant = hosts.includes(host) ? "" : didYouMean(host, hosts);
    return meant === ""
        ? { repository, tag, digest }
        : [{ where, what: `the registry ${host} is not in policy/settings.yaml${meant}`, fix: "correct the name" }];
}

function digestFault(digest: string): string {
    const [algorithm = "", sum = ""] = digest.split(":");
    if (!digest.includes(":")) return `the digest "${digest}" does not say its algorithm`;
    if (algorithm !== "sha256") return `the digest is a ${algorithm}, and the chart takes sha256`;
    if (/^[0-9a-f]{64}$/i.test(sum)) return "the digest has capital letters, which registries do not know";
    if (!/^[0-9a-f]*$/i.test(sum)) return `the digest has the character "${/[^0-9a-f]/i.exec(sum)?.[0] ?? ""}"`;
    return `the digest has ${sum.length} of 64 digits`;
}
