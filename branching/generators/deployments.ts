import { type BranchMap } from "../map";

/** The settings of one stack, as `deployments/index.ts` hands them to Pulumi Cloud. */
export interface StackSettings {
    /** Full name of the branch whose pushes deploy the stack. */
    readonly branch: string;
    readonly deployCommits: boolean;
    readonly previewPullRequests: boolean;
    /** Globs from the repository's root; a push that touches none of them deploys nothing. */
    readonly paths: readonly string[];
    readonly preRunCommands: readonly string[];
    /** When drift is looked for, as a cron line in UTC. */
    readonly driftSchedule: string;
}

/** `deployments/settings.json`: stack → settings, for the environments that Pulumi Deployments deploys. */
export function deploymentSettings(map: BranchMap, stacks: Readonly<Record<string, readonly string[]>>): string {
    const settings: Record<string, StackSettings> = {};
    for (const environment of map.deployers["pulumi-deployments"] ?? []) {
        const [branch] = Object.entries(map.branches).find(
            ([, { onPush }]) => "deploy" in onPush && onPush.deploy === environment,
        ) ?? [""];
        for (const stack of stacks[environment] ?? []) {
            settings[stack] = {
                branch: `refs/heads/${branch}`,
                deployCommits: true,
                previewPullRequests: true,
                // Everything that decides what is deployed; the documentation beside it does not.
                paths: [
                    "chart/**",
                    "apis/**",
                    "components/**",
                    "policy/**",
                    "index.ts",
                    "Pulumi.yaml",
                    `Pulumi.${stack}.yaml`,
                    "package.json",
                    "package-lock.json",
                    "tsconfig*.json",
                    "!**/*.md",
                ],
                preRunCommands: ["npm ci", "npx --no ml-api check --skip lint"],
                driftSchedule: "17 * * * *",
            };
        }
    }
    return `${JSON.stringify(settings, undefined, 4)}\n`;
}
