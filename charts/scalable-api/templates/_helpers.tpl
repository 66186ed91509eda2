{{/* Names, labels, images, and where each secret comes from. A component's own objects: _component.tpl. */}}

{{/* What every object's name begins with; the ScalableApi's own name, whose bound is 40 characters. */}}
{{- define "scalable-api.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "scalable-api.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end }}

{{/* (root) Labels that never change: selectors are made of them. */}}
{{- define "scalable-api.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* (root, component) */}}
{{- define "scalable-api.componentSelector" -}}
{{ include "scalable-api.selector" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* (root) global.commonLabels add to the chart's own labels, and replace none. */}}
{{- define "scalable-api.labels" -}}
{{- $release := include "scalable-api.releaseLabels" . | fromYaml -}}
{{- merge (include "scalable-api.selector" . | fromYaml) $release .Values.global.commonLabels | toYaml -}}
{{- end }}

{{/* (root, component) */}}
{{- define "scalable-api.componentLabels" -}}
{{- $release := include "scalable-api.releaseLabels" .root | fromYaml -}}
{{- merge (include "scalable-api.componentSelector" . | fromYaml) $release .root.Values.global.commonLabels | toYaml -}}
{{- end }}

{{- define "scalable-api.releaseLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: scalable-api
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* (root, component, more) What a pod carries: nothing that a new version of the chart alone would change. */}}
{{- define "scalable-api.podLabels" -}}
{{- $own := include "scalable-api.componentSelector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "scalable-api" -}}
{{- merge $own (default dict .more) .root.Values.global.commonLabels | toYaml -}}
{{- end }}

{{/* (root, image) `ref` wins, a digest beats a tag, global.imageRegistry beats the image's own. */}}
{{- define "scalable-api.image" -}}
{{- $registry := default .image.registry .root.Values.global.imageRegistry -}}
{{- $path := ternary (printf "%s/%s" $registry .image.repository) .image.repository (ne $registry "") -}}
{{- $tagged := printf "%s:%s" $path (default .root.Chart.AppVersion .image.tag) -}}
{{- $plain := ternary (printf "%s@%s" $path .image.digest) $tagged (ne .image.digest "") -}}
{{- default $plain .image.ref -}}
{{- end }}

{{- define "scalable-api.pullSecrets" -}}
{{- with .Values.global.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The Secrets: a person's, or those that the bootstrap Job makes (keys, control) and this chart (stores). */}}
{{- define "scalable-api.keysSecret" -}}
{{- default (printf "%s-keys" (include "scalable-api.fullname" .)) .Values.secrets.existingSecret -}}
{{- end }}

{{- define "scalable-api.controlSecret" -}}
{{- default (printf "%s-control" (include "scalable-api.fullname" .)) .Values.secrets.existingControlSecret -}}
{{- end }}

{{- define "scalable-api.storesSecret" -}}
{{- include "scalable-api.fullname" . }}-stores
{{- end }}

{{/* "true" where the chart runs that store itself, which it does only if no other one is named. */}}
{{- define "scalable-api.devPostgres" -}}
{{- if and .Values.devDatastores.enabled (not .Values.postgres.url) (not .Values.postgres.existingSecret) }}true{{ end }}
{{- end }}

{{- define "scalable-api.devRedis" -}}
{{- if and .Values.devDatastores.enabled (not .Values.redis.url) (not .Values.redis.existingSecret.name) }}true{{ end }}
{{- end }}

{{/* (root, role) A projected volume's source: the URL of that role of Postgres, as the file `database-url`. */}}
{{- define "scalable-api.postgresSource" -}}
{{- $values := .root.Values.postgres -}}
{{- $dev := include "scalable-api.devPostgres" .root -}}
{{- if not (or $dev $values.url $values.existingSecret) }}
{{- fail "no Postgres: set postgres.url, postgres.existingSecret or devDatastores.enabled=true" }}
{{- end -}}
secret:
  {{- if $dev }}
  name: {{ include "scalable-api.keysSecret" .root }}
  {{- else }}
  name: {{ default (include "scalable-api.storesSecret" .root) $values.existingSecret }}
  {{- end }}
  items:
  - key: {{ ternary "dev-" "" (eq $dev "true") }}{{ .role }}-url
    path: database-url
{{- end }}

{{/* (root) The same for Redis, as the file `redis-url`. */}}
{{- define "scalable-api.redisSource" -}}
{{- $values := .Values.redis -}}
{{- $dev := include "scalable-api.devRedis" . -}}
{{- if not (or $dev $values.url $values.existingSecret.name) }}
{{- fail "no Redis: set redis.url, redis.existingSecret.name or devDatastores.enabled=true" }}
{{- end -}}
secret:
  {{- if $dev }}
  name: {{ include "scalable-api.keysSecret" . }}
  {{- else }}
  name: {{ default (include "scalable-api.storesSecret" .) $values.existingSecret.name }}
  {{- end }}
  items:
  - key: {{ ternary "dev-redis-url" (ternary $values.existingSecret.key "redis-url" (ne $values.existingSecret.name "")) (eq $dev "true") }}
    path: redis-url
{{- end }}

{{/* Names of the Secrets that the bootstrap Job makes. */}}
{{- define "scalable-api.bootstrapped" -}}
{{- $names := list -}}
{{- if not .Values.secrets.existingSecret }}{{ $names = append $names (include "scalable-api.keysSecret" .) }}{{ end -}}
{{- if not .Values.secrets.existingControlSecret }}{{ $names = append $names (include "scalable-api.controlSecret" .) }}{{ end -}}
{{- toJson $names -}}
{{- end }}

{{/* (root, labels) Metadata of what a Prometheus chooses by labels. */}}
{{- define "scalable-api.monitorMetadata" -}}
name: {{ include "scalable-api.fullname" .root }}
namespace: {{ include "scalable-api.namespace" .root }}
labels:
  {{- $own := include "scalable-api.labels" .root | fromYaml }}
  {{- merge $own (default dict .labels) .root.Values.monitoring.labels | toYaml | nindent 2 }}
{{- end }}

{{- define "scalable-api.monitorNamespaces" -}}
namespaceSelector:
  {{- default (dict "matchNames" (list (include "scalable-api.namespace" .))) .Values.monitoring.namespaceSelector | toYaml | nindent 2 }}
{{- end }}

{{- define "scalable-api.monitorEndpoint" -}}
{{- with .Values.monitoring -}}
port: control
path: /metrics
interval: {{ .interval }}
scrapeTimeout: {{ .scrapeTimeout }}
honorLabels: {{ .honorLabels }}
{{- with .relabelings }}
relabelings:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}
{{- end }}
