import { readProject } from "../components/config/project-file";
import type { Problem } from "../components/config/problem";
import { readStack } from "../components/config/stack";
import { stackFileName, stackNames } from "../components/config/stack-file";
import { request } from "../components/guarded-release/live/api";
import { keySecretOf } from "../components/ml-api/values";
import type { Found } from "./adopt-found";
import type { AdoptRequest } from "./adopt-plan";
import { toYaml } from "./new-files";

/** The stack file of an adopted release. */
export function stackText(
    root: string,
    { namespace, context }: AdoptRequest,
    release: string,
    environment: string,
): string {
    const { name: project } = readProject(root);
    const config = {
        [`${project}:environment`]: environment,
        [`${project}:name`]: release,
        [`${project}:namespace`]: namespace,
        // It was there before, and may hold more than this API.
        [`${project}:createNamespace`]: '"false"',
        [`${project}:valuesDir`]: `apis/${release}`,
        ...(environment === "production" ? { [`${project}:protect`]: '"true"' } : {}),
        ...(context === undefined
            ? {}
            : { "kubernetes:context": toYaml({ context }).slice("context: ".length).trimEnd() }),
    };
    return `config:\n${Object.entries(config)
        .map(([key, value]) => `  ${key}: ${value}\n`)
        .join("")}`;
}

/** The stack that is to have this release by its files, or has the name that a new one would get. */
export function stackOf(root: string, release: string, namespace: string, environment: string): string | undefined {
    const stacks = stackNames(root);
    const fits = stacks.filter((stack) => {
        const settings = readStack(root, stack);
        return settings.name === release && settings.namespace === namespace && settings.environment === environment;
    });
    return fits[0] ?? stacks.find((stack) => stack === `${release}-${environment}`);
}

/** What a stack that has its files already would make although it is there: Pulumi would fail on it half-way. */
export async function stackProblems(
    root: string,
    stack: string,
    release: string,
    namespace: string,
    { access }: Found,
): Promise<Problem[]> {
    const settings = readStack(root, stack);
    const problem = (where: string, what: string, fix: string): Problem => ({ where, what, fix });
    const file = stackFileName(stack);
    const differs = (["name", "namespace"] as const).flatMap((key) => {
        const wanted = key === "name" ? release : namespace;
        return settings[key] === wanted
            ? []
            : [
                  problem(
                      file,
                      `its ${key} is ${settings[key]}, and that of the release is ${wanted}`,
                      `${key}: ${wanted}`,
                  ),
              ];
    });
    const key = keySecretOf(settings);
    const isThere = key?.ours === true && (await hasSecret(access, namespace, key.name));
    return [
        ...differs,
        ...(settings.createNamespace
            ? [problem(file, `it makes the namespace, and ${namespace} is there already`, "createNamespace: false")]
            : []),
        ...(isThere
            ? [
                  problem(
                      settings.valuesFile,
                      `the stack makes the Secret ${key.name} with the API key, and it is there already`,
                      `apiKey: { existingSecret: ${key.name}, generation: ${settings.keyGeneration} }`,
                  ),
              ]
            : []),
    ];
}

async function hasSecret(access: Found["access"], namespace: string, name: string): Promise<boolean> {
    const path_ = `/api/v1/namespaces/${namespace}/secrets/${name}`;
    return (await request(access, { path: path_, timeoutMs: 10_000 })).status === 200;
}
