/** The chart that the Kubernetes contract tests install: small, and with a switch for every case. */
export const chart: Record<string, string> = {
    "chart/Chart.yaml": `
apiVersion: v2
name: sample
version: 0.3.1
appVersion: "7"
`,
    "chart/values.yaml": `
replicas: 1
image: registry.invalid/sample:1
removed: by a null
list: [from, the, chart]
nested: {kept: true, replaced: chart}
breakWith: ""
hook: ""
nodeSelector: {}
`,
    "chart/values.schema.json": JSON.stringify({
        $schema: "http://json-schema.org/draft-07/schema#",
        type: "object",
        properties: { replicas: { type: "integer" } },
    }),
    "chart/crds/things.yaml": `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.contract.example}
spec:
  group: contract.example
  scope: Namespaced
  names: {kind: Thing, plural: things, singular: thing}
  versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`,
    // What Helm made of the values, to be read back; and words that YAML readers disagree about.
    "chart/templates/configmap.yaml": `
{{- if eq .Values.breakWith "fail" }}{{ fail "the template refuses" }}{{ end }}
{{- if eq .Values.breakWith "required" }}{{ required "a value is required" .Values.absent }}{{ end }}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-values
  annotations:
    kube-version: {{ .Capabilities.KubeVersion.Version | quote }}
    knows-extra: {{ .Capabilities.APIVersions.Has "extra.example/v1" | quote }}
    revision: {{ .Release.Revision | quote }}
    is-install: {{ .Release.IsInstall | quote }}
data:
  values.json: {{ toJson .Values | quote }}
  big: "{{ .Values.big }}"
`,
    "chart/templates/deployment.yaml": `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  labels: {app: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  paused: no
  minReadySeconds: 0x1
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata:
      labels: {app: {{ .Release.Name }}}
      annotations:
        {{- if .Values.odd }}
        octal: "0123"
        date: 2026-01-01
        sexagesimal: 12:30
        {{- else }}
        plain: text
        {{- end }}
    spec:
      nodeSelector: {{ toJson .Values.nodeSelector }}
      containers: [{name: main, image: {{ .Values.image | quote }}}]
`,
    "chart/templates/hooks.yaml": `
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-check
  annotations: {helm.sh/hook: test}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: registry.invalid/check:1}]}}}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-before
  {{- if eq .Values.hook "fail" }}
  namespace: does-not-exist
  {{- end }}
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: before-hook-creation}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: registry.invalid/before:1}]}}}
`,
};
