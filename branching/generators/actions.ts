/** The GitHub actions that the workflows use, by the commit of a release: a tag could be moved to other code. */
export const ACTIONS = {
    checkout: { uses: "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1", release: "v7.0.1" },
    setupNode: { uses: "actions/setup-node@820762786026740c76f36085b0efc47a31fe5020", release: "v7.0.0" },
    setupGo: { uses: "actions/setup-go@b7ad1dad31e06c5925ef5d2fc7ad053ef454303e", release: "v7.0.0" },
    cache: { uses: "actions/cache@27d5ce7f107fe9357f9df03efb73ab90386fccae", release: "v5.0.5" },
    uploadArtifact: { uses: "actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f", release: "v7.0.0" },
    downloadArtifact: { uses: "actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c", release: "v8.0.1" },
    pulumiCli: { uses: "pulumi/actions@8e5e406f4007fca908480587cb9893c07090f58d", release: "v7.0.0" },
    pulumiLogin: { uses: "pulumi/auth-actions@141415910c3beb54e03b48e9057c204c97b956f2", release: "v2.1.0" },
    cosign: { uses: "sigstore/cosign-installer@6f9f17788090df1f26f669e9d70d6ae9567deba6", release: "v4.1.2" },
} as const;
