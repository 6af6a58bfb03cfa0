import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { version as providerVersion } from "@pulumi/kubernetes/package.json";
import { request } from "../components/guarded-release/live/api";
import type { ApiAccess } from "../components/config/kubeconfig";
import { newRecord } from "../components/guarded-release/live/record";
import { hideStackSalt } from "../local/stack-salt";
import { stackFileName } from "../components/config/stack-file";
import { mark } from "./adopt-compare";
import { ADOPTED } from "./adopt-found";
import type { AdoptPlan } from "./adopt-plan";
import { capture } from "./process";

const REQUEST_MS = 10_000;

/** Makes objects that ran without Helm a release: marks them, and writes the record that Helm's first upgrade starts from. */
export async function makeRelease(
    access: ApiAccess,
    { met, release, namespace }: AdoptPlan,
    begun: boolean,
): Promise<void> {
    for (const one of met) await mark(access, one, { release, namespace });
    if (begun) return;
    const record = newRecord(
        { release, namespace },
        met.map(({ was }) => was),
        ADOPTED,
        new Date(),
    );
    const answer = await request(access, {
        method: "POST",
        path: `/api/v1/namespaces/${namespace}/secrets`,
        body: JSON.stringify(record),
        timeoutMs: REQUEST_MS,
    });
    if (answer.status === 201) return;
    throw new Error(
        `Helm's record of ${release} cannot be written: the API server answers ${answer.status}; the objects are marked, and serve as before`,
    );
}

/** Writes a release into the state of its stack, as if the stack had made it. Nothing in the cluster changes. */
export async function importRelease(root: string, plan: AdoptPlan, env: NodeJS.ProcessEnv): Promise<void> {
    const { stack, protect } = plan;
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "ml-api-import-"));
    try {
        const file = path.join(folder, "import.json");
        fs.writeFileSync(file, JSON.stringify(importFile(plan)));
        const args = ["--file", file, "--stack", stack, "--yes", "--skip-preview", "--generate-code=false"];
        await capture("pulumi", ["import", ...args, `--protect=${String(protect)}`, "--non-interactive"], {
            env,
            cwd: root,
        });
    } finally {
        fs.rmSync(folder, { recursive: true, force: true });
    }
}

/** The resources of a release as `components/ml-api` makes them: the release inside its two components. */
export function importFile({ release, namespace }: Pick<AdoptPlan, "release" | "namespace">): object {
    return {
        resources: [
            { type: "ml-api:index:MlApi", name: "api", logicalName: release, component: true },
            {
                type: "ml-api:index:GuardedRelease",
                name: "guarded",
                logicalName: release,
                component: true,
                parent: "api",
            },
            {
                type: "kubernetes:helm.sh/v3:Release",
                name: "release",
                logicalName: release,
                id: `${namespace}/${release}`,
                parent: "guarded",
                // That of the program, so that both use the same provider.
                version: providerVersion,
            },
        ],
    };
}

export async function makeStack(root: string, stack: string, env: NodeJS.ProcessEnv): Promise<void> {
    await capture("pulumi", ["stack", "init", stack, "--no-select"], { env, cwd: root });
    hideStackSalt(root, [stackFileName(stack)]);
}
