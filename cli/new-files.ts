import { stringify } from "yaml";
import { DEFAULT_PORT, type ImageName, type NewRequest } from "./new-request";

/** The sizes in which the environments differ, as chart/environment/differences.yaml declares them. */
const SIZES: Readonly<Record<string, { readonly says: string; readonly replicas: number; readonly cpu: string }>> = {
    dev: { says: "in dev: one small pod that logs everything.", replicas: 1, cpu: "50m" },
    staging: { says: "in staging: as production, in a smaller size.", replicas: 2, cpu: "75m" },
    production: { says: "in production.", replicas: 3, cpu: "100m" },
};

/** What goes into values files beyond the request. */
export interface Deployed {
    readonly image: ImageName;
    readonly memory: string;
    /** Body of a prediction that must work. */
    readonly sample: object | undefined;
}

/** The values file of a new API in an environment. */
export function valuesFile(request: NewRequest, environment: string, { image, memory, sample }: Deployed): string {
    const { says, replicas, cpu } = SIZES[environment] ?? { says: `in ${environment}.`, replicas: 1, cpu: "100m" };
    const api = {
        ...(environment === "dev" ? { logLevel: "debug" } : {}),
        ...(request.port === DEFAULT_PORT ? {} : { port: request.port }),
    };
    const parts = [
        { environment },
        {
            image: {
                repository: image.repository,
                ...(image.tag === "" ? {} : { tag: image.tag }),
                ...(image.digest === "" ? {} : { digest: image.digest }),
            },
        },
        { labels: { owner: request.owner } },
        { replicas },
        { resources: { requests: { cpu, memory } } },
        ...(Object.keys(api).length === 0 ? [] : [{ api }]),
        ...(sample === undefined ? [] : [{ verify: { sample } }]),
    ];
    const blocks = parts.map((part) => toYaml(part));
    const none = sample === undefined ? [NO_SAMPLE] : [];
    return [`# ${request.name} ${says}\n${blocks[0] ?? ""}`, ...blocks.slice(1), ...none].join("\n");
}

const NO_SAMPLE = `# The body of one prediction that must work; every deploy and \`ml-api predict\` ask it.
# verify:
#   sample: { … }
`;

/** As Helm reads it: words such as no and on, and digits with a leading zero, are quoted. */
export function toYaml(value: object): string {
    const text = stringify(value, { version: "1.1", lineWidth: 0, aliasDuplicateObjects: false });
    // A tag of digits only would be a number; one that is quoted always needs no second look.
    return text.replace(/^( {2}tag: )([^"\n]+)$/m, '$1"$2"');
}

/** The stack file of a new API in an environment. */
export function stackFile(project: string, name: string, environment: string): string {
    const config = {
        environment,
        name,
        namespace: `${name}-${environment}`,
        valuesDir: `apis/${name}`,
        ...(environment === "production" ? { protect: "true" } : {}),
    };
    const lines = Object.entries(config).map(
        ([key, value]) => `  ${project}:${key}: ${value === "true" ? '"true"' : value}`,
    );
    return `config:\n${lines.join("\n")}\n`;
}

const UNIT = 64;
/** What the web server around a model takes. */
const SERVER_MEBIBYTES = 64;

/** Memory for a process whose most was measured, and what comes to it: half as much again, in steps of 64 Mi. */
export function memoryFor(peakBytes: number, moreMebibytes = SERVER_MEBIBYTES): string {
    const needed = (peakBytes / (1 << 20) + moreMebibytes) * 1.5;
    return `${Math.max(UNIT, Math.ceil(needed / UNIT) * UNIT)}Mi`;
}
