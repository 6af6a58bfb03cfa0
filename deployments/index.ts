import * as pulumi from "@pulumi/pulumi";
import { deploymentSettings } from "./stack-settings";
import settings from "./settings.json";

const config = new pulumi.Config();

deploymentSettings(settings, {
    organization: config.require("organization"),
    repository: config.require("repository"),
    project: "ml-api",
});
