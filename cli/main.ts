import { Command, CommanderError, Option } from "commander";
import { visibleLines } from "../components/config/visible";
import { adoptCommand } from "./adopt";
import { branchCommand, branchesCommand } from "./branch";
import { chartGenerateCommand, chartPackageCommand } from "./chart";
import { checkCommand } from "./check";
import { STEPS } from "./check-steps";
import { clusterDownCommand, clusterStatusCommand } from "./cluster";
import { componentGenerateCommand, componentPackageCommand } from "./component";
import { dashboardCommand } from "./dashboard";
import { diffCommand } from "./diff";
import { driftCommand } from "./drift";
import { docsGenerateCommand } from "./docs";
import { ExitCode } from "./exit-code";
import { doctorCommand } from "./doctor";
import { environmentCommand } from "./environment";
import { imageCommand } from "./image";
import { newCommand } from "./new";
import { parseSubject, rbacCommand } from "./rbac";
import { debtsCommand, promoteCommand } from "./promote";
import { gateCommand, recordCommand } from "./record";
import { holdCommand } from "./hold";
import { renderCommand } from "./render";
import { rollbackCommand } from "./rollback";
import { rotateKeyCommand } from "./rotate-key";
import { installReceive, receiveAgain, receiveCommand } from "./receive";
import { reviewDownCommand, reviewListCommand, reviewSweepCommand, reviewUpCommand } from "./review";
import { setImageCommand } from "./set-image";
import { toolsCommand } from "./tools";
import { logsCommand } from "./logs";
import { openCommand } from "./open";
import { recoverCommand } from "./recover";
import { statusCommand } from "./status";
import { predictCommand, upCommand } from "./up";
import { upgradeCommand } from "./upgrade";

/** The `ml-api` command: what people do around `pulumi`. Each command parses its words, calls one function and prints. */
export function program(): Command {
    const command = new Command("ml-api")
        .description("Deploys Python machine-learning APIs, and what belongs to it.")
        .showHelpAfterError("(npx --no ml-api help lists the commands)");

    command
        .command("up")
        .argument("[stack]", "the stack to deploy", "dev")
        .description(
            "a cluster (CLUSTER=current|node|simulated), the sample image, `pulumi up` of a stack, and one prediction",
        )
        .option("--release-hold <why>", "end the hold that a rollback has left, before")
        .action(upCommand);
    command
        .command("predict")
        .argument("[stack]", "the stack to ask", "dev")
        .description("send the values' verify.sample to a deployed API, with its key")
        .action(predictCommand);
    command
        .command("status")
        .argument("[env]", "an environment or a stack; all without one")
        .option("--json", "as JSON, all of it")
        .description("say how a deployed API is: revision, image, pods, last deploy, locks and holds")
        .addHelpText("after", STATUS_HELP)
        .action(statusCommand);
    command
        .command("logs")
        .argument("[env]", "an environment or a stack", "dev")
        .option("--previous", "of each container's run before the present one")
        .option("--since <duration>", "no older than this, such as 10m; else the last 100 lines of each pod")
        .description("follow the logs of all pods of a deployed API")
        .action(logsCommand);
    command
        .command("open")
        .argument("[env]", "an environment or a stack", "dev")
        .option("--port <number>", "the port on this machine; else any that is free")
        .description("forward a port to a deployed API until Ctrl-C, and say how to ask it")
        .action(openCommand);
    command
        .command("recover")
        .argument("<env>", "an environment or a stack")
        .option("--force", "whoever seems to be at work on it counts as dead")
        .option("--yes", "do not ask")
        .description("put right what a dead run has left; shows what it would do, and asks")
        .addHelpText("after", RECOVER_HELP)
        .action(recoverCommand);
    command
        .command("env")
        .description('print the variables for a shell: eval "$(npx --no ml-api env)"')
        .action(environmentCommand);
    command
        .command("image")
        .argument("[api...]", "the APIs whose images are meant; all without one")
        .description(
            "build the images of this checkout (the sample's, and of apis/*/server), and say their content tags",
        )
        .option("--write", "write the tag into the values files")
        .option("--check", "only compare the tag with the values files, build nothing")
        .action(imageCommand);
    command
        .command("new")
        .argument("<name>", "name of the API: lower-case letters, digits and -")
        .option("--image <reference>", "an image that keeps the image contract")
        .option("--model <file>", "a model (.joblib, .pkl, .pickle of scikit-learn, or .onnx): makes a server for it")
        .option("--owner <team>", "the label owner; else <name>-team")
        .option("--sample <json>", "body of one prediction that must work, or @file with it; for a model one input")
        .option("--environments <list>", "some of dev,staging,production; else all")
        .option("--port <number>", "the port that the image listens on; else 8080")
        .option("--memory <amount>", "memory of a pod, such as 512Mi; for a model else what was measured")
        .option("--yes", "ask nothing, take the defaults")
        .option("--json", "as JSON: {version, name, stacks, created, changed, notes, next}")
        .description("make the files of another API: values, stacks and, for a model, a server")
        .addHelpText("after", NEW_HELP)
        .action(newCommand);
    command
        .command("doctor")
        .argument("<target>", "an image (name, or a file of `docker save`), the URL of a running server, or a stack")
        .option("--sample <json>", "body of one prediction that must work, or @file with it; a stack has its own")
        .option("--key-file <file>", "file with an accepted key, for a URL; else the variable ML_API_KEY")
        .option("--live <path>", "other paths than the chart's: of liveness")
        .option("--ready <path>", "of readiness")
        .option("--predict <path>", "of predictions")
        .option("--metrics <path>", "of metrics")
        .option("--no-start", "only look at the image, do not start it")
        .option(
            "--write",
            "write the proposed values: the size for this stack, all else for its API in every environment",
        )
        .option(
            "--json",
            "as JSON: {version, target, ok, checks: [{name, status: ok | failed | not checked, says, fix?}], values}",
        )
        .description("check an image or a running server against the image contract, and propose values")
        .addHelpText("after", DOCTOR_HELP)
        .action(doctorCommand);
    command
        .command("adopt")
        .argument("<name>", "of the Helm release, or of the Deployment")
        .requiredOption("--namespace <name>", "where it runs")
        .option("--environment <env>", "dev, staging or production; else what its values say")
        .option("--context <name>", "kubectl context of its cluster; else the current one")
        .option("--values <file>", "take these values, instead of those read from what runs")
        .option("--as <name>", "leave it alone, and make a release of this name beside it, to switch to")
        .option("--out <file>", "write the values that were read into this file, and end")
        .option("--plan", "only show what would be done")
        .option("--yes", "do not ask")
        .option(
            "--json",
            "only the plan, as JSON: {version, stack, …, mode, files, notes, problems, changes, restarts}",
        )
        .description(
            "take over an API that runs already, by Helm or as plain objects: files, Pulumi state, first update",
        )
        .addHelpText("after", ADOPT_HELP)
        .action(adoptCommand);
    command
        .command("render")
        .argument("<env>", "an environment or a stack")
        .addOption(new Option("--json", "as JSON: {stack, environment, release, namespace, digest, objects}"))
        .addOption(new Option("--out <folder>", "one YAML file per object, into a new folder").conflicts("json"))
        .description("print what would be installed: the chart's objects, hooks and tests included, as YAML")
        .addHelpText("after", RENDER_HELP)
        .action(renderCommand);
    command
        .command("rbac")
        .argument("<env>", "an environment or a stack")
        .addOption(
            new Option("--bootstrap", "the namespace, its quota and limits, and the ClusterRole of who makes them"),
        )
        .addOption(new Option("--open", "a person who reaches the API and reads its logs").conflicts("bootstrap"))
        .addOption(
            new Option("--pull-request", "the preview of a pull request: reads, and no Secret").conflicts([
                "bootstrap",
                "open",
            ]),
        )
        .addOption(
            new Option(
                "--to <subject>",
                "who gets it: user:NAME, group:NAME or serviceaccount:NAMESPACE/NAME (default: a group of the stack)",
            )
                .argParser(parseSubject)
                .conflicts("bootstrap"),
        )
        .option("--json", "as JSON: {version, stack, environment, namespace, objects}")
        .description("print the exact rights that deploying an environment needs, for kubectl apply")
        .addHelpText("after", RBAC_HELP)
        .action(rbacCommand);
    command
        .command("rotate-key")
        .argument("<env>", "an environment or a stack")
        .addOption(new Option("--finish", "the second deploy: from now on only the new key"))
        .addOption(new Option("--status", "only say where the rotation is").conflicts("finish"))
        .addOption(new Option("--json", "with --status, as JSON: {version, stack, stand, runs}"))
        .addOption(new Option("--edit-only", "edit the stack file, and leave the deploy to a push").conflicts("status"))
        .addOption(new Option("--yes", "deploy without asking").conflicts(["status", "editOnly"]))
        .description("a new API key in two deploys: first both keys are valid, then only the new one")
        .addHelpText("after", ROTATE_KEY_HELP)
        .action(rotateKeyCommand);
    command
        .command("diff")
        .argument("[env...]", "environments or stacks; all without one")
        .addOption(new Option("--base <commit>", "compare with this branch, tag or commit; needs no cluster"))
        .addOption(new Option("--across", "compare the environments with each other").conflicts("base"))
        .addOption(new Option("--markdown", "as the comment of a pull request").conflicts("json"))
        .addOption(new Option("--json", "as JSON, all of it"))
        .addOption(new Option("--exit-code", "end with 2 when something differs").conflicts("across"))
        .description("show what an update would change, object by object and field by field, without secrets")
        .addHelpText("after", DIFF_HELP)
        .action(diffCommand);
    command
        .command("drift")
        .argument("<env>", "an environment or a stack")
        .option("--json", "as JSON, all of it")
        .option("--fix", "show it, ask, and put the live objects right")
        .option("--yes", "with --fix: do not ask")
        .description("compare the live objects with what the release deployed, field by field, without secrets")
        .addHelpText("after", DRIFT_HELP)
        .action(driftCommand);
    command
        .command("rollback")
        .argument("<env>", "an environment or a stack")
        .option("--to <revision or commit>", "go back to it; without this, the revisions are listed")
        .option("--reason <text>", "why, for those who read the commit, the hold and the record")
        .option("--yes", "do not ask")
        .addOption(
            new Option(
                "--json",
                "the list as JSON: {version, stack, revisions: [{revision, status, image, …}]}",
            ).conflicts("to"),
        )
        .description("list what a stack has run; or deploy an earlier commit's chart and values, and hold it there")
        .addHelpText("after", ROLLBACK_HELP)
        .action(rollbackCommand);
    command
        .command("hold")
        .argument("<env>", "an environment or a stack")
        .option("--release <why>", "end it, so that any commit may be deployed")
        .addOption(
            new Option("--json", "as JSON: {stack, hold: {…} | null, recorded: {…} | null}").conflicts("release"),
        )
        .description("show what a rollback holds, by whom, since when and why; or end it")
        .action(holdCommand);
    command
        .command("check")
        .option(
            "--base <commit>",
            "the branch, tag or commit for the step diff; else the merge base with the default branch",
        )
        .option("--only <step...>", "these steps only")
        .option("--skip <step...>", "all but these steps")
        .option(
            "--json",
            "as JSON: {version, ok, steps: [{name, status: ok | failed | skipped, seconds, says?, details?}]}",
        )
        .option("--markdown <file>", "also write a comment for a pull request: every step, and what changes")
        .description("everything that can be checked without a cluster, a token or a secret; what CI runs")
        .addHelpText("after", CHECK_HELP)
        .action(checkCommand);
    command
        .command("upgrade")
        .argument(
            "<from>",
            "where the newer version is: a URL, a remote, a folder, or a branch, tag or commit of this clone",
        )
        .option("--ref <ref>", "branch or tag there; else its current branch")
        .option("--base <version>", "the version that this project was made from, where git cannot know it")
        .option("--plan", "only show what it would mean")
        .option("--commit", "commit it when nothing is in conflict; else it is left in the work tree")
        .option("--yes", "do not ask")
        .option("--json", "only the plan, as JSON: {version, from, base, chart, rooms, conflicts, …, stacks}")
        .description("bring a fork or a copy of this repository to a newer version: what it means, then git merges")
        .addHelpText("after", UPGRADE_HELP)
        .action(upgradeCommand);
    command
        .command("branch")
        .argument("<ref>", "a branch, or a full ref such as refs/heads/feature/x")
        .option("--base <branch>", "of a pull request into this branch")
        .option("--fork", "the pull request comes from another repository")
        .option("--deleted", "the branch was deleted")
        .option("--strict", "fail when it means nothing, or may not be merged there")
        .option("--json", "as JSON: {action, stacks, approval, reason, …}")
        .description("say what a push of a branch does, or its pull request")
        .action(branchCommand);
    command
        .command("receive")
        .argument("[repository]", "with it: install the hook into this bare repository")
        .addOption(new Option("--again <branch>", "of this repository: do once more what its push does"))
        .addOption(new Option("--approved-by <name>", "with --again: who agrees"))
        .description("the post-receive hook of a repository: deploy what was pushed")
        .action((repository: string | undefined, { again, approvedBy }: { again?: string; approvedBy?: string }) => {
            if (repository === undefined) return receiveCommand();
            if (again === undefined) return installReceive(repository);
            return receiveAgain(repository, again, approvedBy === undefined ? [] : [`approved-by=${approvedBy}`]);
        });
    command
        .command("branches")
        .option(
            "--write",
            "write what is generated from the branch map: workflows, protection rules, deployment settings",
        )
        .description("check the branch map and what is generated from it")
        .action(branchesCommand);
    const review = command.command("review").description("a small stack of its own for each pull request");
    review
        .command("up")
        .argument("<number>", "of the pull request")
        .option("--base <commit>", "only the stacks that change against it; else all of the environment")
        .description("deploy this commit to the stacks of a pull request, in namespaces of their own, with a quota")
        .action(reviewUpCommand);
    review
        .command("down")
        .argument("<number>", "of the pull request")
        .description("remove them, with all that is in their namespaces")
        .action(reviewDownCommand);
    review.command("sweep").description("remove those that have had their time").action(reviewSweepCommand);
    review
        .command("list")
        .option("--json", "as JSON: {version, stacks: [{stack, number, lastUpdate?}]}")
        .description("show which there are")
        .action(reviewListCommand);
    command
        .command("set-image")
        .argument("<env>", "an environment or a stack")
        .argument("<image>", "repository@sha256:… or repository:tag@sha256:…")
        .option("--api <name>", "of this API, where the environment has several")
        .addOption(
            new Option(
                "--json",
                "as JSON: {version, stack, environment, file, changed, before, after, warnings: [text]}",
            ),
        )
        .description("write an image into the values file of an environment; nothing else of the file changes")
        .action(setImageCommand);
    command
        .command("promote")
        .argument("<from>", "the environment or stack that ran it")
        .argument("<to>", "the one that is to run it")
        .addOption(new Option("--onto <branch>", "prepare it for a pull request into this branch"))
        .addOption(new Option("--write", "into the values file of the work tree, without a commit"))
        .addOption(new Option("--emergency <reason>", "although it is not proven; needs --approved-by"))
        .addOption(new Option("--approved-by <name>", "who agrees to the emergency, besides you"))
        .addOption(new Option("--no-fetch", "go by what this clone has of its origin"))
        .addOption(new Option("--no-diff", "do not render what changes"))
        .addOption(new Option("--json", "as JSON, without the diff"))
        .description("prepare the commit by which an environment runs what the one before has run and verified")
        .addHelpText("after", PROMOTE_HELP)
        .action(promoteCommand);
    command
        .command("debts")
        .addOption(new Option("--no-fetch", "go by what this clone has of its origin"))
        .addOption(new Option("--json", "as JSON: {version, debts: [{kind: commit | emergency | mirror, …}]}"))
        .description(
            "what runs in production and is missing elsewhere, and emergencies without proof; ends with 1 if so",
        )
        .action(debtsCommand);
    command
        .command("gate")
        .argument("<stack>")
        .requiredOption("--ref <ref>", "the branch that was pushed")
        .option("--live", "ask the cluster what runs, too, in case the record was lost")
        .option("--out <file>", "write the answer as JSON, for `ml-api record`")
        .description("whether this commit may be deployed: order, proof, block list; ends with 1 if not")
        .action(gateCommand);
    command
        .command("record")
        .argument("[stack]")
        .option("--ref <ref>", "the branch that was deployed")
        .option("--outcome <outcome>", "deployed or failed")
        .option("--gate <file>", "what `ml-api gate --out` has written")
        .option("--wait <minutes>", "wait until somebody else has deployed this commit, and see how it ended")
        .option("--out <file>", "where to write it; else it is printed")
        .option("--from <file...>", "add what was written to the branch `deployments`")
        .option("--push", "and push that branch to the origin")
        .description("write down a deploy, for promotions and for people")
        .action(recordCommand);
    const cluster = command.command("cluster").description("the cluster of this checkout");
    cluster.command("status").description("which one it is, and how it is").action(clusterStatusCommand);
    cluster
        .command("down")
        .option("--gone", "a cluster of your own does not exist any more: forget it, with its Pulumi state")
        .option("--yes", "do not ask")
        .description("remove it, with the Pulumi state of what was deployed to it; of your own one only the stack dev")
        .action(clusterDownCommand);
    const chart = command.command("chart").description("the Helm chart, for others to install");
    chart
        .command("package")
        .argument("<folder>", "where to; it is then a chart repository for any web server")
        .description("write the chart's package and its index")
        .action(chartPackageCommand);
    chart
        .command("generate")
        .option("--check", "only compare, write nothing")
        .description("bring the table of values in chart/README.md, and chart/index.yaml, up to date")
        .action(chartGenerateCommand);
    command
        .command("dashboard")
        .option("--configmap <namespace>", "as a ConfigMap for this namespace, which Grafana's sidecar loads")
        .description("print the Grafana dashboard as JSON")
        .action(dashboardCommand);
    const component = command.command("component").description("the component MlApi, for other Pulumi programs to use");
    component
        .command("package")
        .argument("<folder>", "where to")
        .description("write the npm package: the component, its types, the chart, and the plugin for other languages")
        .action(componentPackageCommand);
    component
        .command("generate")
        .option("--check", "only compare, write nothing")
        .description("bring components/plugin/schema.json up to date")
        .action(componentGenerateCommand);
    command
        .command("docs")
        .description("the references that are made from code")
        .command("generate")
        .option("--check", "only compare, write nothing")
        .description("bring docs/reference and the table of settings in README.md up to date")
        .action(docsGenerateCommand);
    command
        .command("tools")
        .description("get the tools that the commands need, and say where each came from")
        .option("--clean", "remove what was downloaded or built")
        .action(toolsCommand);
    return command;
}

const NEW_HELP = `
Nothing is overwritten, and nothing is left when something is wrong.
A model of scikit-learn is loaded to see what it takes, which runs code that is in its file.

Example:
  npx --no ml-api new churn --image registry.example.org/team/churn:1.4 --owner team-churn --yes
  npx --no ml-api new churn --model churn.joblib --sample '{"age": 41, "visits": 7}' --yes`;

const ADOPT_HELP = `
It shows everything first: the values that it read, what it could not carry over, what the first update changes in the cluster, and whether
a pod restarts by that. It deploys only when nothing changes; else the update is left to you. Exit code: 1 when something stands against it.

JSON: mode is release, objects or beside; problems: [{where, what, fix?}]; changes: [{name, action, fields: [{path, before?, after?}],
  restartsPods}].

Example:
  npx --no ml-api adopt churn --namespace models --plan`;

const UPGRADE_HELP = `
It shows which of your files both have edited, which are in conflict, keys of values that came and went, defaults that change for a stack,
and what the first preview of each stack will change and restart. Exit code: 1 when git leaves conflicts.

JSON: {version, from, base, chart: {base, ours, theirs}, commits, rooms: [{room, files}], merged: [file], conflicts: [file],
  generated: [file], edited: [file], keys: {added, removed}, config: {added, removed}, defaults: [{key, before?, after?, stacks}],
  problems: [{where, what, fix?}], stacks: [{stack, changes, restarts, problem?}], packages}.

Example:
  npx --no ml-api upgrade https://github.com/your-team/ml-api.git --ref v1.2.0 --plan`;

const DOCTOR_HELP = `
An image is started here, on Linux as root: as user 10001, on a read-only root, without a network. A server behind a URL is only
asked; what would take places from others or stop it is not checked there.
Exit code: 1 when a check failed.

Example:
  npx --no ml-api doctor registry.example.org/team/churn:1.4 --sample @sample.json`;

const RENDER_HELP = `
It is exactly what Helm would get; nothing is hidden.

Example:
  npx --no ml-api render staging > staging.yaml`;

const RBAC_HELP = `
Without --bootstrap, --open or --pull-request: the deployer. It is a Role from what the chart renders now, so print it again before a
change that brings a new kind of object, and after one that drops one.

Example:
  npx --no ml-api rbac staging --to serviceaccount:ci/deploy-staging | kubectl apply -f -`;

const ROTATE_KEY_HELP = `
It looks at the stack file and at what runs, does the next step, and can be run again at any time. The change to the stack file is to
be committed. Where pods serve, the new key is asked with before the old one is taken away, and the old one is seen refused after it.

Example:
  npx --no ml-api rotate-key dev           # both keys are valid; give clients the new one
  npx --no ml-api rotate-key dev --finish  # only the new key is`;

const STATUS_HELP = `
It asks the cluster that \`pulumi up\` would use, and looks for locks in a Pulumi back end of files.
Exit code with a name: 0 when it is deployed and all its pods are ready, else 1.

JSON: {version, stacks: [{stack, environment, release, namespace, cluster, state, why?, locks: [{process, user, host, since,
  holder: alive | dead | unknown}], live: null | {revision, description, image, url, since, pods: {ready, total}, findings: [text],
  maker: null | {commit?, actor, time, imageDigest?}, lease: null | {stack, host, process, since, renewed, seconds}, hold: null | {…}}}]};
  state is Helm's (deployed, failed, pending-upgrade, …), absent, or unknown when the cluster does not say.`;

const RECOVER_HELP = `
\`pulumi up\` does the same by itself before it deploys; this is for when nothing is to be deployed, and for what rules cannot know:
without --force a release that somebody else's helm is working on is left alone until twice its time-out is over, and one whose
Lease still beats always.

Example:
  npx --no ml-api recover staging --force`;

const DIFF_HELP = `
Without --base it is compared with the live release, in the cluster that \`pulumi up\` would use.
--base renders that commit's chart, values and stack files.
--across compares values, and ends with 1 when a difference is not declared in chart/environment/differences.yaml.
Exit code: 0, 2 with --exit-code when something differs, 1 when something could not be compared.

JSON: {version, base: {ref, commit} | null, stacks: [{stack, environment, release, namespace, against, state, summary,
  notes: [text], problems: [{object, field, what, fix, blocking}], objects: [{name, action: create | update | delete, restartsPods,
  fields: [{path: [key], text, before?, after?, noise?}]}]}]}; state is compared, new, gone, no-base or failed; an absent
  before or after: the field is absent there. Where a hidden value changes, both are "[secret]".
JSON with --across: {version, apis: [{api, stacks, differences: [{path, declared, reason?, values: {stack: value},
  places: {stack: file:line}}], same: [path], stale: [{path, group, reason, place}], declaredIn}]}

Example:
  npx --no ml-api diff dev --base origin/master`;

const DRIFT_HELP = `
Left out: what the server fills in, what controllers and autoscalers set, and objects that belong to others in the namespace.
Exit code: 0 no drift, 2 drift, 1 it could not be told.

JSON: {version, stack, release, namespace, revision, cluster,
  objects: [{name, state: changed | missing | going, note?, fields: [{path: [key], text, release?, live?, by?: {manager, time?}}]}],
  extras: [{name, claims, by?, since?}], unknown: [{name, why}], unlisted: [kind]}; an absent release: the release does not name the
  field; an absent live: it is gone; claims: the object bears the release's marks and is not of it.

Example, for cron:
  npx --no ml-api drift production || echo "production is not what was deployed"`;

const PROMOTE_HELP = `
It commits to a branch of its own; your checkout stays as it is. Refused, with every reason, when the image, the model and
the chart did not run in <from>, were not verified there, have not run long enough, are blocked, or when something is owed
(ml-api debts). An emergency leaves out all of that but the block list, and is a debt itself.
Exit code: 1 when it is refused.

JSON: {version, from, to, environment, refused, refusals: [{code, reason, fix}], artifacts?: {image, model, chart}, record?,
  soakedMinutes?, onto, path: [branch], file, changes: [{path, before?, after}], branch?, commit?}

Example:
  npx --no ml-api promote dev staging`;

const ROLLBACK_HELP = `
It needs the commits in this clone, the cluster and the stack's state; no network beyond that. Neither your files nor your branch
are touched: the commit that goes back is written to a branch of its own, hotfix/rollback-<stack>-<commit>, for a pull request.
The API key stays the one of today. Afterwards only that commit, and what has it in its history, may be deployed: see ml-api hold.

Example:
  npx --no ml-api rollback production
  npx --no ml-api rollback production --to 7 --reason "predictions were off"`;

const CHECK_HELP = `
Steps:
${STEPS.map(({ name, holds }) => `  ${name.padEnd(12)} ${holds}`).join("\n")}
Exit code: 1 when a step failed.

Example:
  npx --no ml-api check --skip unit --base origin/master`;

/** Runs the command; a fault is one message, and its stack trace only with ML_API_DEBUG=1. */
export function main(words: readonly string[]): void {
    const command = program();
    forEach(command, (one) => {
        // A refused word stands in the message, whatever it holds.
        one.exitOverride().configureOutput({ writeErr: (text) => void process.stderr.write(visibleLines(text)) });
    });
    command.parseAsync([...words], { from: "user" }).catch((error: unknown) => {
        if (error instanceof CommanderError) {
            process.exitCode = error.exitCode;
            return;
        }
        const fault = error instanceof Error ? error : new Error(String(error));
        process.stderr.write(
            `ml-api: ${visibleLines(process.env["ML_API_DEBUG"] === "1" ? (fault.stack ?? fault.message) : fault.message)}\n`,
        );
        process.exitCode = error instanceof ExitCode ? error.code : 1;
    });
}

function forEach(command: Command, visit: (one: Command) => void): void {
    visit(command);
    for (const child of command.commands) forEach(child, visit);
}
