{{/* The command that asks the API whether it is ready and for a prediction, (list root mode url); see files/ask.py. */}}
{{- define "ml-api.ask" -}}
{{- $root := index . 0 -}}
{{- $sample := empty $root.Values.verify.sample | ternary "" (toJson $root.Values.verify.sample) -}}
{{- $contract := include "ml-api.contractEnv" $root | fromYaml -}}
- python3
- -I
- -c
- |
  {{- $root.Files.Get "files/ask.py" | include "ml-api.literal" | nindent 2 }}
- {{ index . 1 }}
{{- range $name, $text := merge (dict "API_URL" (index . 2) "READY_PATH" $root.Values.api.paths.ready "PREDICT_PATH" $root.Values.api.paths.predict "SAMPLE" $sample) (pick $contract "API_KEYS_FILE" "REQUEST_TIMEOUT_SECONDS") }}
- {{ printf "%s=%s" $name $text | include "ml-api.literal" | quote }}
{{- end }}
{{- end -}}

{{/* The container of a Job that asks, (list root component url). */}}
{{- define "ml-api.askContainer" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 }}
image: {{ include "ml-api.image" $root | quote }}
imagePullPolicy: {{ include "ml-api.imagePullPolicy" $root }}
{{ include "ml-api.containerSecurity" . }}
command:
  {{- include "ml-api.ask" (list $root "test" (index . 2)) | nindent 2 }}
resources:
  requests: { cpu: 50m, memory: 64Mi, ephemeral-storage: 64Mi }
  limits: { memory: 128Mi, ephemeral-storage: 64Mi }
{{- with include "ml-api.keysVolumeMount" $root }}
volumeMounts:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Helm makes the object anew each time, (list hook weight), and removes it when all went well: a failed Job stays to be read (kubectl logs job/NAME) until the next one, or for an hour. */}}
{{- define "ml-api.hook" -}}
annotations:
  helm.sh/hook: {{ index . 0 }}
  helm.sh/hook-weight: {{ index . 1 | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/* A Job that asks, (list root component hook url). One try, as ask.py is patient where it should be; a pod that its node has lost is no answer. */}}
{{- define "ml-api.askJob" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $container := include "ml-api.askContainer" (list $root $component (index . 3)) | fromYaml -}}
apiVersion: batch/v1
kind: Job
metadata:
  {{- include "ml-api.metadata" (list $root $component dict) | nindent 2 }}
  {{- include "ml-api.hook" (list (index . 2) "0") | nindent 2 }}
    helm.sh/hook-output-log-policy: hook-failed
spec:
  activeDeadlineSeconds: {{ get (include "ml-api.timing" $root | fromJson) (printf "%sDeadline" $component) | int64 }}
  ttlSecondsAfterFinished: 3600
  backoffLimit: 0
  podFailurePolicy: { rules: [{ action: Ignore, onPodConditions: [{ type: DisruptionTarget, status: "True" }] }] }
  template:
    metadata:
      labels:
        {{- include "ml-api.podLabels" (list $root $component dict) | nindent 8 }}
    spec:
      {{- $spec := ternary (include "ml-api.candidateSpec" $root) (include "ml-api.podSecurity" $root) (eq $component "candidate") | fromYaml }}
      {{- $volumes := $spec.volumes | default (include "ml-api.keysVolume" $root | fromYamlArray) }}
      {{- merge (dict "restartPolicy" "Never" "containers" (list $container) "volumes" $volumes) $spec | toYaml | nindent 6 }}
{{- end -}}

{{/* The pods' spec with the API beside the container that asks it, and ending with it. Nobody else sends it requests, so it need not drain; started means asked, not probed. */}}
{{- define "ml-api.candidateSpec" -}}
{{- $spec := (include "ml-api.podTemplate" (list . dict) | fromYaml).spec | default dict -}}
{{- $before := ternary $spec.initContainers list (kindIs "slice" $spec.initContainers) -}}
{{- range ternary $spec.containers list (kindIs "slice" $spec.containers) | reverse }}{{ if kindIs "map" . -}}
{{- $before = append $before (omit . "lifecycle" "readinessProbe" "livenessProbe" | merge (dict "restartPolicy" "Always")) -}}
{{- end }}{{ end -}}
{{ merge (dict "initContainers" $before) $spec | toYaml }}
{{- end -}}
