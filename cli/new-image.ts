import { ensureTools } from "../local/tools";
import { run } from "../local/run";
import type { ImageName } from "./new-request";
import { logToStderr } from "./rendered-stack";

/** What a registry says of an image: its digest, why it refuses it, or that it cannot be asked. */
export type RegistryAnswer =
    { readonly digest: string } | { readonly refused: string } | { readonly unreachable: string };

/** Asks the registry, with the log-in of this machine's Docker or Podman. */
export async function askRegistry({ repository, tag, digest }: ImageName): Promise<RegistryAnswer> {
    const { crane } = await ensureTools(["crane"], { log: logToStderr });
    const version = digest === "" ? (tag === "" ? "" : `:${tag}`) : `@${digest}`;
    const { stdout, stderr, failure } = await run(crane.path, ["digest", `${repository}${version}`], {
        variables: process.env,
        timeLimit: 30_000,
    });
    const found = /sha256:[0-9a-f]{64}/.exec(stdout)?.[0];
    if (failure === undefined && found !== undefined) return { digest: found };
    return refusal(stderr === "" ? (failure ?? "no answer") : stderr);
}

/** Tells a registry that says no from one that cannot be asked. */
export function refusal(stderr: string): { readonly refused: string } | { readonly unreachable: string } {
    if (/MANIFEST_UNKNOWN|NAME_UNKNOWN|NOT_FOUND|404 Not Found/i.test(stderr))
        return { refused: "the registry has no such image" };
    if (/UNAUTHORIZED|DENIED|401|403 Forbidden/i.test(stderr))
        return { refused: "the registry does not show it to you; docker login, or correct the name" };
    const reason = /(?:dial tcp|lookup|proxyconnect|tls|x509|timeout|refused|unexpected status code|EOF)[^\n]*/i.exec(
        stderr,
    )?.[0];
    return { unreachable: (reason ?? stderr.trim().split("\n").at(-1) ?? "no answer").slice(0, 160) };
}
