import "./components/prelude";
import * as pulumi from "@pulumi/pulumi";
import { reportSettings } from "./components/config/report";
import { loadSettings } from "./components/config/settings";
import { MlApi } from "./components/ml-api/ml-api";
import { lookAround } from "./components/ml-api/surroundings";

const settings = loadSettings();
const around = lookAround(settings);
reportSettings(pulumi.getStack(), settings, around.cluster);
const { valuesFile: file, places, ...args } = settings;
const api = new MlApi(args.name, args, {}, { ...around, origin: { file, places } });

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
const { context = "", server = "", access: clusterAccess = "" } = around.cluster ?? {};
export const cluster = { context, server, access: clusterAccess };
