{{/* What would not work, said before anything is changed. */}}
{{- define "headrace.check" -}}
{{- $config := .Values.config -}}
{{- if not $config.models -}}
{{- fail "\nconfig.models is empty. Name at least one model, for instance:\n  config:\n    models:\n      topic: {uri: \"models:/topic@production\", port: 5001}" -}}
{{- end -}}
{{- $taken := dict (include "headrace.adminPort" .) "config.admin.port" -}}
{{- if include "headrace.loopback" ($config.admin.host | default "127.0.0.1") -}}
{{- fail "\nconfig.admin.host is on loopback: the kubelet's probes come from outside of the pod. Leave it at 0.0.0.0; networkPolicy and config.auth keep others out" -}}
{{- end -}}
{{- $ports := include "headrace.ports" . | fromYamlArray -}}
{{- if not $ports -}}
{{- fail "\nno port of config is open to other pods: leave config.gateway.host at 0.0.0.0, and give config.gateway.port or the models' ports" -}}
{{- end -}}
{{- range $one := $ports -}}
{{- $where := eq $one.name "http" | ternary "config.gateway.port" (printf "the model %s" $one.name) -}}
{{- $number := toString $one.port -}}
{{- if hasKey $taken $number -}}
{{- fail (printf "\nport %s is that of %s and of %s: give one of them another number" $number (get $taken $number) $where) -}}
{{- end -}}
{{- $_ := set $taken $number $where -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not .Values.autoscaling.cpuPercent) (not .Values.autoscaling.queuedRows) -}}
{{- fail "\nautoscaling is on and has nothing to go by: give autoscaling.cpuPercent, autoscaling.queuedRows or both" -}}
{{- end -}}
{{- $tls := include "headrace.adminTls" . | fromYaml -}}
{{- if and $tls.client_ca (ne ($tls.client_certificate | default "required") "optional") -}}
{{- fail "\nthe admin port asks for certificates of clients, and the kubelet's probes have none: set client_certificate: optional, or give the admin port a tls of its own (config.admin.tls)" -}}
{{- end -}}
{{- if eq (toString (dig "probes" "open" ($config.auth | default dict))) "closed" -}}
{{- fail "\nconfig.auth.probes is closed, and the kubelet's probes have no key: leave it open (they say nothing but their status)" -}}
{{- end -}}
{{- if and .Values.secrets.tls (not $config.tls) (not (kindIs "map" (dig "tls" "" ($config.admin | default dict)))) -}}
{{- fail "\nsecrets.tls is mounted, and config does not use it. Add:\n  config:\n    tls: {certificate: /run/secrets/headrace/tls/tls.crt, key: /run/secrets/headrace/tls/tls.key}" -}}
{{- end -}}
{{- if and .Values.secrets.keys (not $config.auth) -}}
{{- fail "\nsecrets.keys is mounted, and config does not use it. Add:\n  config:\n    auth: {keys: /run/secrets/headrace/keys}" -}}
{{- end -}}
{{- end -}}
