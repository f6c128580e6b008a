{{/* What the chart has to know of headrace.yaml: its ports, how the admin port is spoken to, how long draining takes. */}}

{{/* A port as a number. Arguments: what is written, where. */}}
{{- define "headrace.port" -}}
{{- $written := index . 0 | toString -}}
{{- if not (regexMatch "^[1-9][0-9]*$" $written) -}}
{{- fail (printf "\n%s is %q: a Service needs the number of the port, between 1 and 65535" (index . 1) $written) -}}
{{- end -}}
{{- $written -}}
{{- end -}}

{{- define "headrace.loopback" -}}
{{- if or (hasPrefix "127." .) (has . (list "localhost" "::1")) }}yes{{ end -}}
{{- end -}}

{{/* The ports that clients may be sent to, as YAML: a list of {name, port}. Those on loopback are none of them. */}}
{{- define "headrace.ports" -}}
{{- $gateway := .Values.config.gateway | default dict -}}
{{- $open := $gateway.host | default "127.0.0.1" -}}
{{- $found := list -}}
{{- if and $gateway.port (not (include "headrace.loopback" $open)) -}}
{{- $found = append $found (dict "name" "http" "port" (include "headrace.port" (list $gateway.port "config.gateway.port") | int)) -}}
{{- end -}}
{{- $names := list "http" -}}
{{- range $model, $settings := .Values.config.models | default dict -}}
{{- $settings = $settings | default dict -}}
{{- if and (hasKey $settings "port") (not (kindIs "invalid" $settings.port)) -}}
{{- $port := include "headrace.port" (list $settings.port (printf "config.models.%s.port" $model)) | int -}}
{{- if not (include "headrace.loopback" ($settings.host | default $open)) -}}
{{- $name := regexReplaceAll "[^a-z0-9]+" (lower $model) "-" | trunc 50 | trimAll "-" -}}
{{- if has $name $names -}}{{- $name = printf "%s-%d" $name $port -}}{{- end -}}
{{- $names = append $names $name -}}
{{- $found = append $found (dict "name" $name "port" $port) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}

{{- define "headrace.adminPort" -}}
{{- $port := dig "port" nil (.Values.config.admin | default dict) -}}
{{- if not $port -}}
{{- fail "\nconfig.admin has no port: probes and metrics need it. Leave config.admin.port as it is (5100), or give another number" -}}
{{- end -}}
{{- include "headrace.port" (list $port "config.admin.port") -}}
{{- end -}}

{{/* The tls section that holds for the admin port, as YAML; empty: plain HTTP. */}}
{{- define "headrace.adminTls" -}}
{{- $own := dig "tls" true (.Values.config.admin | default dict) -}}
{{- if kindIs "map" $own -}}{{- toYaml $own -}}
{{- else if and (not (has (lower (toString $own)) (list "false" "no" "off"))) .Values.config.tls -}}{{- toYaml .Values.config.tls -}}
{{- end -}}
{{- end -}}

{{- define "headrace.scheme" -}}
{{- include "headrace.adminTls" . | empty | ternary "HTTP" "HTTPS" -}}
{{- end -}}

{{/* gateway.drain_s in whole seconds, rounded up. */}}
{{- define "headrace.drainSeconds" -}}
{{- $written := dig "drain_s" 30 (.Values.config.gateway | default dict) | toString -}}
{{- if not (regexMatch "^[0-9][0-9.]* ?(ms|s|m|min|h)?$" $written) -}}
{{- fail (printf "\nconfig.gateway.drain_s is %q: the chart adds it up, so write seconds, or a number with ms, s, m or h" $written) -}}
{{- end -}}
{{- $seconds := dict "ms" 0.001 "" 1.0 "s" 1.0 "m" 60.0 "min" 60.0 "h" 3600.0 -}}
{{- mulf (regexFind "^[0-9.]+" $written | float64) (get $seconds (regexFind "[a-z]*$" $written)) | ceil | int -}}
{{- end -}}

{{- define "headrace.graceSeconds" -}}
{{- $needed := add .Values.preStopSeconds (include "headrace.drainSeconds" . | int) 2 -}}
{{- $given := .Values.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $given -}}{{- add $needed 8 -}}
{{- else if le (int $given) (int $needed) -}}
{{- fail (printf "\nterminationGracePeriodSeconds is %d, and headrace may need %d to end: preStopSeconds, config.gateway.drain_s and 2 more. Give it more than that, or leave it out" (int $given) (int $needed)) -}}
{{- else -}}{{- int $given -}}{{- end -}}
{{- end -}}

{{/*
The ConfigMap's name. Pods reload what changes under the same name. Where they are replaced anyway, the new ones get a
ConfigMap of a new name, and those that go keep what they have: else they would move their admin port away from the probes.
*/}}
{{- define "headrace.configMap" -}}
{{- $of := .Values.watch | ternary (include "headrace.needsRestart" .) (toYaml .Values.config) -}}
{{- printf "%s-%s" (include "headrace.fullname" .) (sha256sum $of | trunc 10) -}}
{{- end -}}

{{/* What headrace cannot take over while it runs (docs/reload.md), and what the pod's probes go by. */}}
{{- define "headrace.needsRestart" -}}
{{- $config := .Values.config -}}
{{- $kept := pick $config "home" "audit" "telemetry" -}}
{{- $_ := set $kept "probes" (list (include "headrace.scheme" .) (include "headrace.adminPort" .)) -}}
{{- $_ := set $kept "registry" (omit ($config.registry | default dict) "poll_s" "webhook_secret") -}}
{{- $_ := set $kept "environments" (pick ($config.environments | default dict) "prebuilt") -}}
{{- $_ := set $kept "health" (pick ($config.health | default dict) "hung_after_s") -}}
{{- $_ := set $kept "log" (omit ($config.log | default dict) "level") -}}
{{- range $name, $model := $config.models | default dict -}}
{{- $model = $model | default dict -}}
{{- $of := pick $model "prediction_log" -}}
{{- if eq $name "*" -}}
{{- $of = pick $model "uri" "threads" "errors" "config" "env" "pass_env" "prediction_log" "environment" "environment_mismatch" "share_imports" -}}
{{- $_ := set $of "batch" (pick ($model.batch | default dict) "max_rows" "tolerance") -}}
{{- $_ := set $of "of all" (list $config.errors (dig "max_body_bytes" nil ($config.gateway | default dict))) -}}
{{- end -}}
{{- if $of -}}{{- $_ := set $kept (printf "models.%s" $name) $of -}}{{- end -}}
{{- end -}}
{{- toYaml $kept -}}
{{- end -}}
