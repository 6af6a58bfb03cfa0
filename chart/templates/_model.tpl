{{/* Model delivery ------------------------------------------------------------------------------------------------ */}}

{{/* "download", "volume" or "image"; empty where the model is baked into the API's own image. */}}
{{- define "ml-api.model.source" -}}
{{- with .Values.model -}}
{{- if or .download.url .download.urlSecret }}download{{ else if .volume.claim }}volume{{ else if .image.reference }}image{{ end -}}
{{- end -}}
{{- end -}}

{{/*
MODEL_DIR, name: text; nothing for a baked-in model. A download is found by its checksum, so two models never share a
folder; without one (dev) by a link that the download leaves.
*/}}
{{- define "ml-api.model.env" -}}
{{- $folders := dict "download" (.Values.model.download.sha256 | default "latest") "volume" .Values.model.volume.path "image" "" -}}
{{- with include "ml-api.model.source" . -}}
MODEL_DIR: {{ printf "/models/%s" (get $folders .) | trimSuffix "/" | quote }}
{{- end -}}
{{- end -}}

{{/* What the model takes of the pod's own disk, in bytes. An archive and what comes out of it are there together for a while. */}}
{{- define "ml-api.model.diskBytes" -}}
{{- $download := .Values.model.download -}}
{{- if and (eq (include "ml-api.model.source" .) "download") (not $download.cacheClaim) -}}
{{ mul (include "ml-api.bytes" $download.size | int64) (ternary 2 1 $download.unpack) | add 1048576 }}
{{- else }}0{{ end -}}
{{- end -}}

{{/* Seconds before the API's container starts: 0 without a download. */}}
{{- define "ml-api.model.fetchSeconds" -}}
{{ ternary .Values.model.download.fetchBudgetSeconds 0 (eq (include "ml-api.model.source" .) "download") | int64 }}
{{- end -}}

{{- define "ml-api.model.volumes" -}}
{{- $model := .Values.model -}}
{{- with include "ml-api.model.source" . -}}
- name: models
  {{- if eq . "image" }}
  image: { reference: {{ $model.image.reference | quote }}, pullPolicy: IfNotPresent }
  {{- else if eq . "volume" }}
  persistentVolumeClaim: { claimName: {{ $model.volume.claim | quote }}, readOnly: true }
  {{- else if $model.download.cacheClaim }}
  persistentVolumeClaim: { claimName: {{ $model.download.cacheClaim | quote }} }
  {{- else }}
  emptyDir: { sizeLimit: {{ include "ml-api.model.diskBytes" $ | quote }} }
  {{- end }}
{{- with $model.download.urlSecret }}
- name: model-url
  secret: { secretName: {{ . | quote }}, defaultMode: 288, items: [{ key: url, path: url }] }
{{- end }}
{{- end -}}
{{- end -}}

{{/* Of the API's container: it only reads. */}}
{{- define "ml-api.model.volumeMounts" -}}
{{- with include "ml-api.model.source" . -}}
- { name: models, mountPath: /models, readOnly: true }
{{- end -}}
{{- end -}}

{{/*
The container that fetches the model before the API's starts. Same image (it has a Python), same resources: a pod asks for
the larger of the two, so this one makes no pod harder to place. files/fetch_model.py tells what the variables mean.
*/}}
{{- define "ml-api.model.initContainers" -}}
{{- if eq (include "ml-api.model.source" .) "download" -}}
{{- $download := .Values.model.download -}}
{{- $env := dict "MODEL_ROOT" "/models" "MODEL_SHA256" $download.sha256 "MODEL_FILE" $download.file "MODEL_SIZE_BYTES" (include "ml-api.bytes" $download.size) "MODEL_FETCH_BUDGET_SECONDS" (include "ml-api.model.fetchSeconds" .) -}}
{{- $urlFolder := "/var/run/ml-api/model-url" -}}
{{- if $download.urlSecret }}{{ $_ := set $env "MODEL_URL_FILE" (printf "%s/url" $urlFolder) }}{{ else }}{{ $_ := set $env "MODEL_URL" $download.url }}{{ end -}}
{{- /* How this network is left, and whom it trusts: the same for the download as for the API. */ -}}
{{- range $key := list "HTTPS_PROXY" "https_proxy" "NO_PROXY" "no_proxy" "SSL_CERT_FILE" "SSL_CERT_DIR" }}{{ with get $.Values.env $key }}{{ $_ := set $env $key . }}{{ end }}{{ end -}}
{{- $authority := "" -}}
{{- range include "ml-api.secrets" . | fromJsonArray }}{{ if eq .variable "SSL_CERT_FILE" }}{{ $authority = printf "%s/%s" (include "ml-api.secretsFolder" $) .name }}{{ $_ := set $env .variable $authority }}{{ end }}{{ end -}}
- name: fetch-model
  image: {{ include "ml-api.image" . | quote }}
  imagePullPolicy: {{ include "ml-api.imagePullPolicy" . }}
  {{- include "ml-api.containerSecurity" . | nindent 2 }}
  command:
    - python3
    - -I
    - -c
    - |
      {{- .Files.Get "files/fetch_model.py" | include "ml-api.literal" | nindent 6 }}
  env:
    {{- range $name, $text := $env }}
    - { name: {{ $name }}, value: {{ include "ml-api.literal" $text | quote }} }
    {{- end }}
    - { name: POD_UID, valueFrom: { fieldRef: { fieldPath: metadata.uid } } }
  resources:
    {{- include "ml-api.resources" . | nindent 4 }}
  volumeMounts:
    - { name: models, mountPath: /models }
    {{- if $download.urlSecret }}
    - { name: model-url, mountPath: {{ $urlFolder }}, readOnly: true }
    {{- end }}
    {{- with $authority }}
    - { name: secrets, mountPath: {{ . }}, subPath: {{ base . }}, readOnly: true }
    {{- end }}
{{- end -}}
{{- end -}}

{{/* One sentence per line for each broken rule about the model; nothing when all hold. */}}
{{- define "ml-api.model.problems" -}}
{{- $values := .Values -}}
{{- $model := $values.model -}}
{{- $download := $model.download -}}
{{- $sources := list -}}
{{- range $key, $isSet := dict "model.download" (or $download.url $download.urlSecret) "model.image" $model.image.reference "model.volume" $model.volume.claim }}{{ if $isSet }}{{ $sources = append $sources $key }}{{ end }}{{ end -}}
{{- $downloads := has "model.download" $sources -}}
{{- $port := regexFind "^https://[^/?#]*" $download.url | regexFind ":[0-9]+$" | trimPrefix ":" | default "443" -}}
{{- $anyPort := or $download.urlSecret (get $values.env "HTTPS_PROXY") (get $values.env "https_proxy") -}}
{{- $closed := and $downloads $values.network.enabled -}}
{{- range $to := $values.network.to }}{{ if $to }}{{ if or $anyPort (eq (toString (int64 ($to.port | default 443))) $port) }}{{ $closed = false }}{{ end }}{{ end }}{{ end -}}

{{- $rules := list
  (list (gt (len $sources) 1) (printf "%s are set, and a model has one source: keep one and empty the others." (join " and " $sources)))
  (list (and $download.url $download.urlSecret) "model.download.url and model.download.urlSecret are both set: keep urlSecret for a presigned URL, url for one that everybody may read.")
  (list (and $download.url (not (hasPrefix "https://" $download.url))) (printf "model.download.url starts with %q: only https:// is fetched, so that nobody on the way can change the model." (trunc 7 $download.url)))
  (list (regexMatch "[?&](?i:[^=&]*(signature|token|credential)|sig)=" $download.url) "model.download.url holds a signature, and values are no place for secrets: put the URL into a Secret, entry url, and its name into model.download.urlSecret.")
  (list (and $downloads (not $download.sha256) (has $values.environment (list "staging" "production"))) (printf "model.download.sha256 is empty in environment %q: what is served would change with the file behind the URL. Set it to what `sha256sum FILE` prints; only dev may do without." $values.environment))
  (list (and $downloads $download.cacheClaim (not $download.sha256)) (printf "model.download.cacheClaim is %q and model.download.sha256 is empty: a cached model is found by its checksum. Set sha256, or leave cacheClaim out." $download.cacheClaim))
  (list (and $downloads $download.unpack $download.file) (printf "model.download.unpack is true and model.download.file is %q: an archive's files keep their own names. Leave one of the two out." $download.file))
  (list (and $downloads (not (or $download.unpack $download.file))) "model.download.file is empty: set it to the name that the model shall have in MODEL_DIR, for example model.onnx; or unpack an archive with model.download.unpack: true.")
  (list $closed (printf "network.enabled is true and no entry of network.to opens %s, so the model could not be fetched. Add one, for example network.to.models: {cidr: 203.0.113.0/24, port: %s} with the addresses of the server that has the model." (ternary "a way out" (printf "port %s" $port) (not (empty $anyPort))) $port))
  (list (and $model.volume.path (not $model.volume.claim)) (printf "model.volume.path is %q and model.volume.claim is empty: name the PersistentVolumeClaim, or leave path out." $model.volume.path))
  (list (and $values.verify.warmUp (not $values.verify.sample)) "verify.warmUp is true and verify.sample is empty: set it to the body of a prediction that must be answered before a pod counts as started.")
-}}
{{- range $key := list "sha256" "file" "unpack" "cacheClaim" -}}
{{- $rules = append $rules (list (and (get $download $key) (not $downloads)) (printf "model.download.%s is set and nothing is downloaded: set model.download.url (or urlSecret), or leave %s out." $key $key)) -}}
{{- end -}}
{{- include "ml-api.broken" $rules | fromJsonArray | join "\n" -}}
{{- end -}}
