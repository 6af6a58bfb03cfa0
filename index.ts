import "./components/prelude";
import * as pulumi from "@pulumi/pulumi";
import { findCluster } from "./components/config/cluster";
import { reportSettings } from "./components/config/report";
import { loadSettings } from "./components/config/settings";
import { watchLive } from "./components/guarded-release/live/live";
import { MlApi } from "./components/ml-api/ml-api";

const settings = loadSettings();
const provider = new pulumi.Config("kubernetes");
const target = findCluster(provider.get("context"));
reportSettings(pulumi.getStack(), settings, target);
const live = watchLive({
    context: target?.context,
    namespace: settings.namespace,
    release: settings.name,
    kubeconfig: provider.get("kubeconfig"),
    driver: provider.getObject<{ driver?: string }>("helmReleaseSettings")?.driver,
});

const api = new MlApi(settings.name, { ...settings, cluster: target, live });

/** Name of the Helm release. */
export const release = api.release;
export const namespace = api.namespace;
/** The image that runs, as the pods get it. */
export const image = api.image;
/** Where clients reach the API; without an Ingress or HTTPRoute, from inside the cluster. */
export const url = api.url;
/** The commands that reach the API from here. */
export const access = api.access;
/** The command that shows the API's logs. */
export const logs = api.logs;
/** State of the release as Helm tells it. */
export const status = api.status;
/** The cluster, and the command that gives a person access to it. */
export const cluster = { context: target?.context ?? "", server: target?.server ?? "", access: target?.access ?? "" };
