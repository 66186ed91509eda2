{{/*
The objects of one component. Each template in {gateway,balancer,api}-*.yaml is one line: it names the component and what is to be made.
What differs between components stands in "scalable-api.facts" alone: a further component is a row there, its values and its one-line files.
Every define below takes (root, component).
*/}}

{{/*
port: of its requests. peers: components that may call it there; none named = everybody. role: whose database URL it gets.
migrates: whether its pods bring the database to their schema before they start.
keys: which of the keys Secret's it may read. env: what the process is told beside `config` and `extraEnv`.
*/}}
{{- define "scalable-api.facts" -}}
{{- $name := include "scalable-api.fullname" .root -}}
{{- $source := printf "k8s:%s/%s" (include "scalable-api.namespace" .root) $name -}}
{{- if eq .component "gateway" -}}
port: 8080
peers: []
role: gateway
redis: true
tiers: true
keys: [identity-secrets, api-key-peppers]
env:
  BALANCERS: {{ $source }}-balancer:http
  GATEWAY_PEERS: {{ $source }}-gateway:http
{{- else if eq .component "balancer" -}}
port: 3000
peers: [gateway]
role: ""
redis: false
tiers: true
keys: []
env:
  API_SERVERS: {{ $source }}-api:http
{{- else if eq .component "api" -}}
port: 3001
peers: [balancer]
role: app
redis: true
tiers: false
migrates: true
keys: [identity-secrets, api-key-peppers]
env:
  FLEET: {{ range $i, $c := include "scalable-api.components" . | fromYamlArray }}{{ if $i }},{{ end }}{{ $source }}-{{ $c }}-control:control{{ end }}
{{- end }}
{{- end }}

{{- define "scalable-api.components" -}}
[gateway, balancer, api]
{{- end }}

{{- define "scalable-api.componentName" -}}
{{ include "scalable-api.fullname" .root }}-{{ .component }}
{{- end }}

{{- define "scalable-api.accountName" -}}
{{- $account := index .root.Values .component "serviceAccount" -}}
{{- default (ternary (include "scalable-api.componentName" .) "default" $account.create) $account.name -}}
{{- end }}

{{- define "scalable-api.metadata" -}}
name: {{ include "scalable-api.componentName" . }}{{ .suffix }}
namespace: {{ include "scalable-api.namespace" .root }}
labels:
  {{- include "scalable-api.componentLabels" . | nindent 2 }}
{{- end }}

{{- define "scalable-api.serviceAccount" -}}
{{- $account := index .root.Values .component "serviceAccount" -}}
{{- if $account.create -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "scalable-api.accountName" . }}
  namespace: {{ include "scalable-api.namespace" .root }}
  labels:
    {{- include "scalable-api.componentLabels" . | nindent 4 }}
  {{- with $account.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}
{{- end }}

{{/* Requests. Its port is found by name in the EndpointSlices: what the Service itself listens on matters to people alone. */}}
{{- define "scalable-api.service" -}}
{{- $facts := include "scalable-api.facts" . | fromYaml -}}
{{- $service := index .root.Values .component "service" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "scalable-api.metadata" . | nindent 2 }}
  {{- with $service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ default "ClusterIP" $service.type }}
  {{- with $service.externalTrafficPolicy }}
  externalTrafficPolicy: {{ . }}
  {{- end }}
  selector:
    {{- include "scalable-api.componentSelector" . | nindent 4 }}
  ports:
  - name: http
    port: {{ default $facts.port $service.port }}
    targetPort: http
    protocol: TCP
    appProtocol: http
{{- end }}

{{/* Every pod's control port, ready or not. Headless and of its own, so that it never becomes a load balancer's. */}}
{{- define "scalable-api.controlService" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "scalable-api.metadata" (dict "root" .root "component" .component "suffix" "-control") | nindent 2 }}
    scalableapi.io/scrape: "true"
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "scalable-api.componentSelector" . | nindent 4 }}
  ports:
  - name: control
    port: 9180
    targetPort: control
    protocol: TCP
{{- end }}

{{- define "scalable-api.pdb" -}}
{{- $pdb := index .root.Values .component "pdb" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "scalable-api.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ $pdb.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "scalable-api.componentSelector" . | nindent 6 }}
{{- end }}

{{/* Ingress alone: requests from its callers, the control port from those who steer, show and scrape it. */}}
{{- define "scalable-api.networkPolicy" -}}
{{- if .root.Values.networkPolicy.enabled -}}
{{- $facts := include "scalable-api.facts" . | fromYaml -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "scalable-api.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "scalable-api.componentSelector" . | nindent 6 }}
  policyTypes: [Ingress]
  ingress:
  - ports:
    - {port: http, protocol: TCP}
    {{- if $facts.peers }}
    from:
    {{- range $facts.peers }}
    - podSelector:
        matchLabels:
          {{- include "scalable-api.componentSelector" (dict "root" $.root "component" .) | nindent 10 }}
    {{- end }}
    {{- end }}
  - ports:
    - {port: control, protocol: TCP}
    from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .root.Values.operator.namespace }}
      podSelector:
        matchLabels:
          app.kubernetes.io/component: operator
    {{- range list "api" "smoke" }}
    - podSelector:
        matchLabels:
          {{- include "scalable-api.componentSelector" (dict "root" $.root "component" .) | nindent 10 }}
    {{- end }}
    {{- with .root.Values.networkPolicy.scrapeFrom }}
    {{- toYaml . | nindent 4 }}
    {{- else }}
    {{- if .root.Values.monitoring.enabled }}
    - namespaceSelector: {}
    {{- end }}
    {{- end }}
{{- end }}
{{- end }}

{{- define "scalable-api.deployment" -}}
{{- $facts := include "scalable-api.facts" . | fromYaml -}}
{{- $values := index .root.Values .component -}}
{{- if gt (int $values.scaling.minReplicas) (int $values.scaling.maxReplicas) }}
{{- fail (printf "%s.scaling: minReplicas %v is more than maxReplicas %v" .component $values.scaling.minReplicas $values.scaling.maxReplicas) }}
{{- end }}
{{- $grace := int $values.terminationGracePeriodSeconds -}}
{{- $drain := add 10 (default 5 .root.Values.config.DRAIN_DELAY_SECONDS) (default 30 .root.Values.config.DRAIN_SECONDS) -}}
{{- if le $grace (int $drain) }}
{{- fail (printf "%s.terminationGracePeriodSeconds: %d is too short; stopping takes up to %d s (5 + DRAIN_DELAY_SECONDS + DRAIN_SECONDS + 5)" .component $grace $drain) }}
{{- end -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "scalable-api.metadata" . | nindent 2 }}
    scalableapi.io/component: {{ .component }}
spec:
  {{- if eq $values.scaling.mode "fixed" }}
  replicas: {{ $values.scaling.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  selector:
    matchLabels:
      {{- include "scalable-api.componentSelector" . | nindent 6 }}
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 25%}
  template:
    metadata:
      labels:
        {{- $labels := dict "scalableapi.io/component" .component }}
        {{- include "scalable-api.podLabels" (dict "root" .root "component" .component "more" (merge $labels $values.podLabels)) | nindent 8 }}
      annotations:
        {{- include "scalable-api.podAnnotations" (dict "root" .root "component" .component "facts" $facts "more" $values.podAnnotations) | nindent 8 }}
    spec:
      {{- include "scalable-api.podSpec" (dict "root" .root "component" .component "facts" $facts "values" $values) | nindent 6 }}
{{- end }}

{{/* And (facts, more): a pod reads settings and URLs once, so it is replaced when they change. */}}
{{- define "scalable-api.podAnnotations" -}}
{{- $own := dict "kubectl.kubernetes.io/default-container" .component -}}
{{- $_ := set $own "scalableapi.io/config" (toJson .root.Values.config | sha256sum | trunc 16) -}}
{{- $urls := printf "%s %s" .root.Values.postgres.url .root.Values.redis.url -}}
{{- if and .facts.redis (ne $urls " ") -}}
{{- $_ := set $own "scalableapi.io/stores" ($urls | sha256sum | trunc 16) -}}
{{- end -}}
{{- merge $own .more | toYaml -}}
{{- end }}

{{/* And (facts, values): shared with nothing, split off for its length. */}}
{{- define "scalable-api.podSpec" -}}
{{- include "scalable-api.pullSecrets" .root }}
serviceAccountName: {{ include "scalable-api.accountName" . }}
automountServiceAccountToken: true
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  {{- toYaml .values.podSecurityContext | nindent 2 }}
{{- if .facts.migrates }}
initContainers:
- {{- include "scalable-api.migrate" . | nindent 2 }}
{{- end }}
containers:
- name: {{ .component }}
  {{- include "scalable-api.container" . | nindent 2 }}
  ports:
  - {name: http, containerPort: {{ .facts.port }}, protocol: TCP}
  - {name: control, containerPort: 9180, protocol: TCP}
  env:
  {{- include "scalable-api.env" . | nindent 2 }}
  envFrom:
  - configMapRef: {name: {{ include "scalable-api.fullname" .root }}-config}
  {{- with .values.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  startupProbe:
    httpGet: {path: /livez, port: control}
    {{- toYaml .values.probes.startup | nindent 4 }}
  livenessProbe:
    httpGet: {path: /livez, port: control}
    {{- toYaml .values.probes.liveness | nindent 4 }}
  readinessProbe:
    httpGet: {path: /readyz, port: control}
    {{- toYaml .values.probes.readiness | nindent 4 }}
  lifecycle:
    preStop:
      sleep: {seconds: 5}
  volumeMounts:
  - {name: secrets, mountPath: /etc/scalable-api/secrets, readOnly: true}
  {{- if .facts.tiers }}
  - {name: tiers, mountPath: /etc/scalable-api/tiers, readOnly: true}
  {{- end }}
  - {name: tmp, mountPath: /tmp}
  {{- with .values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumes:
- name: secrets
  projected:
    defaultMode: 0440
    sources:
    {{- include "scalable-api.secretSources" . | nindent 4 }}
{{- if .facts.migrates }}
- name: owner
  projected:
    defaultMode: 0440
    sources:
    - {{- include "scalable-api.postgresSource" (dict "root" .root "role" "owner") | nindent 6 }}
    - secret:
        name: {{ include "scalable-api.keysSecret" .root }}
        items:
        - {key: admin-password, path: admin-password}
{{- end }}
{{- if .facts.tiers }}
- name: tiers
  configMap: {name: {{ include "scalable-api.fullname" .root }}-tiers, optional: true}
{{- end }}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- with .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- include "scalable-api.placement" . }}
{{- end }}

{{/* Where its pods may run; without constraints of one's own each is spread over its own component's pods of one rollout. */}}
{{- define "scalable-api.placement" -}}
{{- $selector := include "scalable-api.componentSelector" . | fromYaml -}}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
{{- toYaml . | nindent 0 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.topologySpreadConstraints }}
topologySpreadConstraints:
{{- range . }}
{{- $own := dict "labelSelector" (dict "matchLabels" $selector) "matchLabelKeys" (list "pod-template-hash") }}
{{- if hasKey . "labelSelector" }}{{ $own = dict }}{{ end }}
- {{- toYaml (merge (dict) . $own) | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* What every container of its pods has. */}}
{{- define "scalable-api.container" -}}
image: {{ include "scalable-api.image" (dict "root" .root "image" .values.image) }}
imagePullPolicy: {{ .values.image.pullPolicy }}
securityContext:
  {{- toYaml .values.containerSecurityContext | nindent 2 }}
resources:
  {{- toYaml .values.resources | nindent 2 }}
{{- end }}

{{/* Expands the schema before the api reads it; if it cannot, the old pods go on serving. Only here the database's owner is known. */}}
{{- define "scalable-api.migrate" -}}
name: migrate
{{ include "scalable-api.container" . }}
command: [scalable-api, migrate, up, --wait, "60"]
env:
- {name: ADMIN_PASSWORD_FILE, value: /etc/scalable-api/owner/admin-password}
- {name: DATABASE_URL_FILE, value: /etc/scalable-api/owner/database-url}
envFrom:
- configMapRef: {name: {{ include "scalable-api.fullname" .root }}-config}
volumeMounts:
- {name: owner, mountPath: /etc/scalable-api/owner, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- end }}

{{/* Each name once: extraEnv takes the place of what the chart says. */}}
{{- define "scalable-api.env" -}}
{{- $secrets := "/etc/scalable-api/secrets" -}}
{{- $plain := dict "CONTROL_TOKEN_FILE" (printf "%s/control-token" $secrets) -}}
{{- range .facts.keys }}
{{- $_ := set $plain (printf "%s_FILE" (. | upper | replace "-" "_")) (printf "%s/%s" $secrets .) -}}
{{- end }}
{{- if .facts.role }}
{{- $_ := set $plain "DATABASE_URL_FILE" (printf "%s/database-url" $secrets) -}}
{{- end }}
{{- if .facts.redis }}
{{- $_ := set $plain "REDIS_URL_FILE" (printf "%s/redis-url" $secrets) -}}
{{- end }}
{{- if .facts.tiers }}
{{- $_ := set $plain "TIERS_FILE" "/etc/scalable-api/tiers/tiers.yaml" -}}
{{- end }}
{{- $env := dict -}}
{{- range $name, $value := merge $plain .facts.env }}
{{- $_ := set $env $name (dict "name" $name "value" $value) -}}
{{- end }}
{{- range .values.extraEnv }}
{{- $_ := set $env .name . -}}
{{- end }}
{{- range $name, $entry := $env }}
- {{ toJson $entry }}
{{- end }}
{{- end }}

{{/* Only the keys that reliability.md lists for it. */}}
{{- define "scalable-api.secretSources" -}}
- secret:
    name: {{ include "scalable-api.controlSecret" .root }}
    items:
    - {key: token, path: control-token}
{{- with .facts.keys }}
- secret:
    name: {{ include "scalable-api.keysSecret" $.root }}
    items:
    {{- range . }}
    - {key: {{ . }}, path: {{ . }}}
    {{- end }}
{{- end }}
{{- with .facts.role }}
- {{- include "scalable-api.postgresSource" (dict "root" $.root "role" .) | nindent 2 }}
{{- end }}
{{- if .facts.redis }}
- {{- include "scalable-api.redisSource" .root | nindent 2 }}
{{- end }}
{{- end }}

{{- define "scalable-api.hpa" -}}
{{- $scaling := index .root.Values .component "scaling" -}}
{{- if eq $scaling.mode "hpa" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "scalable-api.metadata" . | nindent 2 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ include "scalable-api.componentName" . }}}
  minReplicas: {{ $scaling.minReplicas }}
  maxReplicas: {{ $scaling.maxReplicas }}
  metrics:
  {{- toYaml $scaling.metrics | nindent 2 }}
  {{- with $scaling.behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "scalable-api.scaledObject" -}}
{{- $scaling := index .root.Values .component "scaling" -}}
{{- if eq $scaling.mode "keda" -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  {{- include "scalable-api.metadata" . | nindent 2 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ include "scalable-api.componentName" . }}}
  minReplicaCount: {{ $scaling.minReplicas }}
  maxReplicaCount: {{ $scaling.maxReplicas }}
  triggers:
  {{- toYaml $scaling.triggers | nindent 2 }}
  {{- with $scaling.behavior }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        {{- toYaml . | nindent 8 }}
  {{- end }}
{{- end }}
{{- end }}
