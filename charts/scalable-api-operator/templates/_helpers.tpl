{{/* Names, labels, image, environment. The rights stand in _rules.tpl, which is generated. */}}

{{/* What every object's name begins with; 50 leave room for the longest suffix, -operator-ready. */}}
{{- define "scalable-api-operator.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- end }}

{{- define "scalable-api-operator.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end }}

{{- define "scalable-api-operator.account" -}}
{{- default (include "scalable-api-operator.fullname" .) .Values.serviceAccount.name -}}
{{- end }}

{{/* Labels that never change: the Deployment's selector is made of them. */}}
{{- define "scalable-api-operator.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/* global.commonLabels add to the chart's own, and replace none. */}}
{{- define "scalable-api-operator.labels" -}}
{{- $own := include "scalable-api-operator.selector" . | fromYaml -}}
{{- $release := dict
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/part-of" "scalable-api"
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") -}}
{{- merge $own $release .Values.global.commonLabels | toYaml -}}
{{- end }}

{{/* (root, suffix, global) The metadata of an object: of the release's namespace, unless it is the cluster's. */}}
{{- define "scalable-api-operator.metadata" -}}
name: {{ include "scalable-api-operator.fullname" .root }}{{ .suffix }}
{{- if not .global }}
namespace: {{ include "scalable-api-operator.namespace" .root }}
{{- end }}
labels:
  {{- include "scalable-api-operator.labels" .root | nindent 2 }}
{{- end }}

{{/* `ref` wins, a digest beats a tag, global.imageRegistry beats the image's own. */}}
{{- define "scalable-api-operator.image" -}}
{{- $image := .Values.image -}}
{{- $registry := default $image.registry .Values.global.imageRegistry -}}
{{- $path := ternary (printf "%s/%s" $registry $image.repository) $image.repository (ne $registry "") -}}
{{- $tagged := printf "%s:%s" $path (default .Chart.AppVersion $image.tag) -}}
{{- $plain := ternary (printf "%s@%s" $path $image.digest) $tagged (ne $image.digest "") -}}
{{- default $plain $image.ref -}}
{{- end }}

{{- define "scalable-api-operator.pullSecrets" -}}
{{- with .Values.global.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* What services/runtime/settings.py's OperatorSettings reads. Each name once: extraEnv takes the place of what the chart says. */}}
{{- define "scalable-api-operator.env" -}}
{{- $plain := dict "LOG_LEVEL" .Values.settings.logLevel "POLLS_PER_SECOND" (.Values.settings.pollsPerSecond | int | toString) -}}
{{- with .Values.watchNamespaces }}
{{- $_ := set $plain "WATCH_NAMESPACES" (join "," .) -}}
{{- end }}
{{- $servers := list -}}
{{- range $name, $url := .Values.settings.prometheusServers }}
{{- $servers = append $servers (printf "%s=%s" $name $url) -}}
{{- end }}
{{- with $servers }}
{{- $_ := set $plain "PROMETHEUS_SERVERS" (join "," .) -}}
{{- end }}
{{- $env := dict "POD_NAMESPACE" (dict "name" "POD_NAMESPACE" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.namespace"))) -}}
{{- range $name, $value := $plain }}
{{- $_ := set $env $name (dict "name" $name "value" $value) -}}
{{- end }}
{{- range .Values.extraEnv }}
{{- $_ := set $env .name . -}}
{{- end }}
{{- range $name, $entry := $env }}
- {{ toJson $entry }}
{{- end }}
{{- end }}

{{/* Of the helm test's pod; it is none of the operator's, so no Service leads to it. */}}
{{- define "scalable-api-operator.testLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
{{- end }}

{{/* (root, more) Metadata with more labels: those by which a Prometheus selects. */}}
{{- define "scalable-api-operator.monitored" -}}
{{- $metadata := include "scalable-api-operator.metadata" . | fromYaml -}}
{{- toYaml (mustMergeOverwrite $metadata (dict "labels" .more)) -}}
{{- end }}
