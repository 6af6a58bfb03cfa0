import { DeploymentSettings, DriftSchedule } from "@pulumi/pulumiservice";
import type { StackSettings } from "../branching/generators/deployments";

/** Where the stacks and their source live. */
export interface Home {
    /** Pulumi Cloud organization. */
    readonly organization: string;
    /** Pulumi project of the stacks. */
    readonly project: string;
    /** `owner/name` on GitHub. */
    readonly repository: string;
}

/** Push-to-deploy, pull-request previews and drift checks of each stack; a stack cannot declare its own, so this is a project of its own. */
export function deploymentSettings(settings: Readonly<Record<string, StackSettings>>, home: Home): void {
    const { organization, project, repository } = home;
    for (const [
        stack,
        { branch, deployCommits, previewPullRequests, paths, preRunCommands, driftSchedule },
    ] of Object.entries(settings)) {
        const own = new DeploymentSettings(stack, {
            organization,
            project,
            stack,
            sourceContext: { git: { branch } },
            vcs: {
                provider: "github",
                repository,
                deployCommits,
                previewPullRequests,
                pullRequestTemplate: false,
                paths: [...paths],
            },
            operationContext: {
                preRunCommands: [...preRunCommands],
                // npm ci is the first of the commands above. A run that another push made stale still ends: none is skipped.
                options: { skipInstallDependencies: true, skipIntermediateDeployments: false },
            },
            cacheOptions: { enable: true },
        });
        new DriftSchedule(
            stack,
            // Drift is told, not undone: somebody may be working on an incident.
            { organization, project, stack, scheduleCron: driftSchedule, autoRemediate: false },
            { dependsOn: own },
        );
    }
}
