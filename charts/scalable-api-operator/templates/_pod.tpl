{{/* The operator's pod: the Deployment's alone, split off for its length. */}}

{{/* No version of the chart among them: what doesn't change the process doesn't restart it. */}}
{{- define "scalable-api-operator.podLabels" -}}
{{- $own := include "scalable-api-operator.selector" . | fromYaml -}}
{{- merge $own (dict "app.kubernetes.io/part-of" "scalable-api") .Values.podLabels .Values.global.commonLabels | toYaml -}}
{{- end }}

{{- define "scalable-api-operator.podSpec" -}}
{{- include "scalable-api-operator.pullSecrets" . }}
serviceAccountName: {{ include "scalable-api-operator.account" . }}
automountServiceAccountToken: true
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
containers:
- name: operator
  {{- include "scalable-api-operator.container" . | nindent 2 }}
  ports:
  - {name: control, containerPort: 9180, protocol: TCP}
  env:
  {{- include "scalable-api-operator.env" . | nindent 2 }}
  {{- with .Values.extraEnvFrom }}
  envFrom:
  {{- toYaml . | nindent 2 }}
  {{- end }}
  startupProbe:
    httpGet: {path: /livez, port: control}
    {{- toYaml .Values.probes.startup | nindent 4 }}
  livenessProbe:
    httpGet: {path: /livez, port: control}
    {{- toYaml .Values.probes.liveness | nindent 4 }}
  readinessProbe:
    httpGet: {path: /readyz, port: control}
    {{- toYaml .Values.probes.readiness | nindent 4 }}
  volumeMounts:
  - {name: tmp, mountPath: /tmp}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumes:
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- include "scalable-api-operator.placement" . }}
{{- end }}

{{/* What the helm test's container has too. */}}
{{- define "scalable-api-operator.container" -}}
image: {{ include "scalable-api-operator.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.containerSecurityContext | nindent 2 }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
{{- end }}

{{- define "scalable-api-operator.placement" -}}
{{- $own := dict "labelSelector" (dict "matchLabels" (include "scalable-api-operator.selector" . | fromYaml)) "matchLabelKeys" (list "pod-template-hash") -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
{{ toYaml . }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
{{- range . }}
- {{- toYaml (ternary . (merge (dict) . $own) (hasKey . "labelSelector")) | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
