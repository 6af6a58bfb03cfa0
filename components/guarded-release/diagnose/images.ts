import type { Fault } from "./finding";

const PULL_REASONS =
    /^(?:ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull|ImageInspectError|RegistryUnavailable|SignatureValidationFailed)$/;

/** What a registry can answer, in its words or containerd's, and what that means. The first that fits counts. */
const ANSWERS: readonly {
    readonly pattern: RegExp;
    readonly sentence: (image: string, registry: string) => string;
    readonly fix: string;
    readonly healable?: true;
}[] = [
    {
        pattern: /\b401\b|unauthorized|authentication required|authorization failed|no basic auth credentials/i,
        sentence: (image, registry) =>
            `the registry ${registry} wants a login for the image ${image} (401 Unauthorized)`,
        fix: "name a Secret of type kubernetes.io/dockerconfigjson in image.pullSecrets; if one is named, its password may have expired",
    },
    {
        pattern: /\b403\b|forbidden|denied/i,
        sentence: (image, registry) =>
            `the registry ${registry} forbids the pull of the image ${image} (403 Forbidden)`,
        fix: "let the account of image.pullSecrets, or of the nodes, read that repository",
    },
    {
        pattern: /no match for platform|no matching manifest|exec format error/i,
        sentence: (image) => `the image ${image} is not built for this node's processor`,
        fix: "build it for the node's platform (docker buildx build --platform)",
    },
    {
        pattern: /x509|certificate|server gave HTTP response to HTTPS client/i,
        sentence: (_image, registry) =>
            `the node does not trust the registry ${registry}: its certificate is unknown, or it speaks plain HTTP`,
        fix: "have the nodes trust the registry's authority, or use a registry with a certificate that they know",
    },
    {
        pattern: /\b429\b|toomanyrequests|rate limit/i,
        sentence: (image, registry) =>
            `the registry ${registry} has had too many requests, and does not give the image ${image} now (429 Too Many Requests)`,
        fix: "wait, log in by image.pullSecrets for a higher limit, or use a registry of your own",
        healable: true,
    },
    {
        pattern: /status(?: code)?[^"]*\b5\d\d\b/i,
        sentence: (_image, registry) => `the registry ${registry} has a fault of its own (5xx)`,
        fix: "look at the registry, and deploy again when it works",
        healable: true,
    },
    {
        pattern: /no such host|lookup \S+ on|server misbehaving/i,
        sentence: (image, registry) =>
            `the node cannot find the registry ${registry} of the image ${image}: DNS does not know that name, or does not answer`,
        fix: "correct the name in image.repository, or the node's DNS",
        healable: true,
    },
    {
        pattern:
            /connection refused|network is unreachable|no route to host|i\/o timeout|deadline exceeded|connection reset|\bEOF\b/i,
        sentence: (image, registry) => `the node does not reach the registry ${registry} of the image ${image}`,
        fix: "look whether the registry runs and whether a firewall or proxy is between it and the nodes",
        healable: true,
    },
    {
        pattern: /not found|manifest unknown|does not exist|\b404\b|name unknown/i,
        sentence: (image, registry) => `the registry ${registry} has no image ${image} (not found)`,
        fix: "push the image, or correct image.repository and image.tag (or image.digest)",
    },
];

/** Why a container's image is not there. Undefined when it waits for something else. */
export function imageFault(image: string, reason: string, message: string, lastPull: string): Fault | undefined {
    if (!PULL_REASONS.test(reason)) return undefined;
    const fault = { problem: "image", certain: true, healable: false };
    if (reason === "InvalidImageName") {
        const why = message.replace(/^.*: (?=invalid reference format)/, "");
        const sentence = `"${image}" is no image name (${why})`;
        return { ...fault, sentence, fix: "correct image.repository and image.tag" };
    }
    if (reason === "ErrImageNeverPull") {
        const sentence = `the image ${image} is not on the node, and imagePullPolicy Never forbids to pull it`;
        return { ...fault, sentence, fix: "load it on every node, or name a registry in image.repository" };
    }
    // Before 1.31 the back-off does not repeat the reason.
    const said = message.includes("failed to") || message.includes("rpc error") ? message : lastPull;
    // The image's own name and the address must not be read as an answer.
    const answer = said.replaceAll(image, "").replaceAll(/"[^"]*"/g, "");
    const found = ANSWERS.find(({ pattern }) => pattern.test(answer));
    if (found === undefined) {
        const why = said === "" ? "" : `: ${said}`;
        const sentence = `the image ${image} cannot be pulled${why}`;
        return { ...fault, certain: said !== "", healable: true, sentence, fix: "see what the registry says" };
    }
    const { sentence, fix, healable = false } = found;
    return { ...fault, healable, sentence: sentence(image, registryOf(image)), fix };
}

/** `registry.example.org/team/api:1` → registry.example.org; a name without a host is Docker Hub's. */
function registryOf(image: string): string {
    const [host = "", ...rest] = image.split("/");
    return rest.length > 0 && /[.:]|^localhost$/.test(host) ? host : "docker.io";
}
