{{- define "holdfast.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "holdfast.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "holdfast.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "holdfast.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.selector" -}}
app.kubernetes.io/name: {{ include "holdfast.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "holdfast.labels" -}}
{{ include "holdfast.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "holdfast.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "holdfast.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Settings by the names of their environment. */}}
{{- define "holdfast.environment" -}}
- name: HOST_FS
  value: {{ .Values.host.root | quote }}
- name: HOLDFAST_OPT_MODE
  value: {{ .Values.mode | quote }}
- name: HOLDFAST_OPT_TIER
  value: {{ .Values.tier | quote }}
- name: HOLDFAST_OPT_POLICY_PATHS
  value: /etc/holdfast/policies
{{- if not (hasKey .Values.config "kernel.on_exit") }}
# A pod may go for good, and would leave its policies in force. A new one is ready before the old one goes.
- name: HOLDFAST_OPT_KERNEL_ON_EXIT
  value: fail-open
{{- end }}
{{- with .Values.metrics.port }}
- name: HOLDFAST_OPT_METRICS_LISTEN
  value: "0.0.0.0:{{ . }}"
{{- end }}
{{- with .Values.host.containerd }}
- name: HOLDFAST_OPT_RUNTIME_CONTAINERD
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.host.cri }}
- name: HOLDFAST_OPT_RUNTIME_CRI
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.host.docker }}
- name: HOLDFAST_OPT_RUNTIME_DOCKER
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.uplink }}
{{- if .url }}
- name: HOLDFAST_OPT_UPLINK_URL
  value: {{ .url | quote }}
- name: HOLDFAST_OPT_UPLINK_KEY_FILE
  value: /etc/holdfast/uplink/key
{{- if ternary .caInSecret .ca (ne .existingSecret "") }}
- name: HOLDFAST_OPT_UPLINK_CA
  value: /etc/holdfast/uplink/ca.crt
{{- end }}
{{- end }}
{{- end }}
{{- range $key, $value := .Values.config }}
- name: HOLDFAST_OPT_{{ $key | upper | replace "." "_" }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What the sensor may do. */}}
{{- define "holdfast.securityContext" -}}
readOnlyRootFilesystem: true
runAsUser: 0
{{- if eq .Values.profile "privileged" }}
privileged: true
{{- else }}
privileged: false
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
  add:
    {{- toYaml .Values.capabilities | nindent 4 }}
seccompProfile:
  {{- toYaml .Values.seccompProfile | nindent 2 }}
{{- with .Values.appArmorProfile }}
appArmorProfile:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "holdfast.uplinkSecret" -}}
{{- default (printf "%s-uplink" (include "holdfast.fullname" .)) .Values.uplink.existingSecret -}}
{{- end -}}

{{- define "holdfast.policyMounts" -}}
- name: policies
  mountPath: /etc/holdfast/policies
  readOnly: true
{{- end -}}

{{/* What the sensor looks at, and what its settings name. */}}
{{- define "holdfast.mounts" -}}
{{ include "holdfast.policyMounts" . }}
{{- if .Values.uplink.url }}
- name: uplink
  mountPath: /etc/holdfast/uplink
  readOnly: true
{{- end }}
- name: host
  mountPath: {{ .Values.host.root }}
  readOnly: true
  mountPropagation: HostToContainer
- name: tracing
  mountPath: /sys/kernel/tracing
  readOnly: true
- name: security
  mountPath: /sys/kernel/security
  readOnly: true
{{- end -}}

{{- define "holdfast.volumes" -}}
- name: policies
  configMap:
    name: {{ default (printf "%s-policies" (include "holdfast.fullname" .)) .Values.policies.existingConfigMap }}
{{- if .Values.uplink.url }}
- name: uplink
  secret:
    secretName: {{ include "holdfast.uplinkSecret" . }}
    defaultMode: 0400
{{- end }}
- name: host
  hostPath:
    path: /
- name: tracing
  hostPath:
    path: /sys/kernel/tracing
- name: security
  hostPath:
    path: /sys/kernel/security
{{- end -}}
