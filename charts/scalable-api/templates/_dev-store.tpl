{{/* A data store for development: (root, component: postgres|valkey, port, mount, secrets, env, probe, lifecycle). */}}
{{- define "scalable-api.devStore" -}}
{{- $dev := .root.Values.devDatastores -}}
{{- $values := index $dev .component -}}
{{- $script := .root.Files.Get (printf "files/dev-%s.sh" .component) -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "scalable-api.metadata" . | nindent 2 }}
data:
  start.sh: |
    {{- $script | nindent 4 }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "scalable-api.metadata" . | nindent 2 }}
spec:
  selector:
    {{- include "scalable-api.componentSelector" . | nindent 4 }}
  ports:
  - {name: store, port: {{ .port }}, targetPort: store, protocol: TCP}
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "scalable-api.metadata" . | nindent 2 }}
spec:
  replicas: 1
  serviceName: {{ include "scalable-api.componentName" . }}
  selector:
    matchLabels:
      {{- include "scalable-api.componentSelector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "scalable-api.podLabels" . | nindent 8 }}
      annotations:
        scalableapi.io/script: {{ $script | sha256sum | trunc 16 }}
    spec:
      {{- include "scalable-api.pullSecrets" .root | nindent 6 }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext:
        {{- toYaml $values.podSecurityContext | nindent 8 }}
      containers:
      - name: {{ .component }}
        {{- include "scalable-api.container" (dict "root" .root "values" $values) | nindent 8 }}
        command: [/bin/sh, /etc/scalable-api/start/start.sh]
        ports:
        - {name: store, containerPort: {{ .port }}, protocol: TCP}
        {{- with .env }}
        env:
        {{- toYaml . | nindent 8 }}
        {{- end }}
        startupProbe:
          {{- toYaml .probe | nindent 10 }}
          periodSeconds: 1
          failureThreshold: 120
          timeoutSeconds: 2
        readinessProbe:
          {{- toYaml .probe | nindent 10 }}
          periodSeconds: 2
          failureThreshold: 2
          timeoutSeconds: 2
        {{- with .lifecycle }}
        lifecycle:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        volumeMounts:
        - {name: data, mountPath: {{ .mount }}}
        - {name: secrets, mountPath: /etc/scalable-api/secrets, readOnly: true}
        - {name: start, mountPath: /etc/scalable-api/start, readOnly: true}
        - {name: tmp, mountPath: /tmp}
      volumes:
      - name: secrets
        secret:
          secretName: {{ include "scalable-api.keysSecret" .root }}
          defaultMode: 0440
          items:
          {{- range .secrets }}
          - {key: dev-{{ . }}, path: {{ . }}}
          {{- end }}
      - name: start
        configMap: {name: {{ include "scalable-api.componentName" . }}}
      - name: tmp
        emptyDir: {sizeLimit: 64Mi}
      {{- if not $dev.persistence.enabled }}
      - name: data
        emptyDir: {sizeLimit: {{ $dev.persistence.size }}}
      {{- end }}
  {{- if $dev.persistence.enabled }}
  volumeClaimTemplates:
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata:
      name: data
    spec:
      accessModes: [ReadWriteOnce]
      {{- with $dev.persistence.storageClassName }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests:
          storage: {{ $dev.persistence.size }}
  {{- end }}
{{- if .root.Values.networkPolicy.enabled }}
---
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
    - {port: store, protocol: TCP}
    from:
    {{- range list "gateway" "api" }}
    - podSelector:
        matchLabels:
          {{- include "scalable-api.componentSelector" (dict "root" $.root "component" .) | nindent 10 }}
    {{- end }}
{{- end }}
{{- end }}
