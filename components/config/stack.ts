import { didYouMean } from "./nearest";
import { InputError } from "./problem";
import { readProject } from "./project-file";
import { readSettings, type Settings } from "./settings";
import { ENCRYPTED, readStackFile, stackFileName, stackNames } from "./stack-file";

/**
 * Reads the settings of a stack from `Pulumi.yaml` and `Pulumi.<stack>.yaml` as a Pulumi program would get them, without
 * Pulumi, with the same checks. Encrypted keys are unknown secrets; whether they are strong enough only Pulumi can see.
 *
 * @param root the project's root folder
 * @throws InputError with every problem at once
 */
export function readStack(root: string, stack: string): Settings {
    const stacks = stackNames(root);
    if (!stacks.includes(stack)) {
        throw new InputError(`stack "${stack}"`, [
            {
                where: stackFileName(stack),
                what: `there is no such stack file${didYouMean(stack, stacks)}`,
                fix: `the stacks are ${stacks.join(", ")}`,
            },
        ]);
    }
    const project = readProject(root);
    const config = { ...project.defaults, ...readStackFile(root, stack, project.name).config };
    return readSettings({
        project: project.name,
        stack,
        root,
        config,
        isSecret: (key) => config[key] === ENCRYPTED,
    });
}
