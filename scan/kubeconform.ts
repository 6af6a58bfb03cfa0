import { basename, join } from "node:path";
import { lastLines, run } from "../local/run";
import { kubernetesVersion, type Render } from "./renders";
import { schemaTemplate } from "./schemas";
import type { Looked } from "./scanner";

interface Report {
    readonly resources: readonly {
        readonly filename: string;
        readonly kind: string;
        readonly name: string;
        readonly status: string;
        readonly msg: string;
    }[];
}

/** Every object against the schema of its kind: no unknown field, no wrong type, no field missing, no kind without a schema. */
export async function kubeconform(program: string, renders: readonly Render[], schemas: string): Promise<Looked> {
    const args = ["-strict", "-verbose", "-output", "json", "-kubernetes-version", kubernetesVersion];
    const place = ["-schema-location", join(schemas, schemaTemplate)];
    const result = await run(program, [...args, ...place, ...renders.map(({ file }) => file)], {
        variables: process.env,
        timeLimit: 60_000,
    });
    const report = parsed(result.stdout);
    if (report === undefined)
        throw new Error(`kubeconform ${result.failure ?? "said nothing"}:\n${lastLines(result.stderr, 6)}`);
    const read = report.resources.filter(({ status }) => status === "statusValid" || status === "statusInvalid").length;
    const findings = report.resources.flatMap(({ filename, kind, name, status, msg }) => {
        if (status === "statusValid") return [];
        const object = `${kind}/${name}`;
        return messagesIn(msg).map((message) => ({
            check: status,
            object,
            render: basename(filename, ".yaml"),
            message,
        }));
    });
    const given = renders.flatMap(({ objects }) => objects).length;
    if (read < given && findings.length === 0) throw new Error(`kubeconform read ${read} of ${given} objects`);
    return { findings, at: `${given} objects` };
}

/** "at '/spec': …" for each fault of an object, without the schema's place in a temporary folder. */
function messagesIn(text: string): readonly string[] {
    const faults = text.split(/ +- (?=at ')/).slice(1);
    return faults.length === 0 ? [text] : faults;
}

function parsed(text: string): Report | undefined {
    try {
        return JSON.parse(text) as Report;
    } catch {
        return undefined;
    }
}
