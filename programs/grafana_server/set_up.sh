# Sets up Grafana on a private instance: the release by its digest, data sources and dashboards as files, no open port.
# VERSION, SHA256, PLUGIN, SECRET, BUCKET, PREFIX, REGION, METRICS_URL, SCRAPE_SECONDS, ADDRESS, STACK and GROUP are set
# before it. ROOT is empty but in tests.
set -euo pipefail
umask 022
home="${ROOT:-}/opt/grafana"
etc="${ROOT:-}/etc/trainforge/grafana"
state="${ROOT:-}/var/lib/grafana"

# Every end is signalled to the deployment, which waits for it. When CloudFormation does not wait, that is no error.
tell() {
  local code=$? token
  token="$(instance_metadata --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 60' api/token)"
  INSTANCE="$(instance_metadata --header "X-aws-ec2-metadata-token: $token" meta-data/instance-id)" \
    STATUS="$([ "$code" = 0 ] && echo SUCCESS || echo FAILURE)" STACK="$STACK" GROUP="$GROUP" REGION="$REGION" \
    python3 - <<'PYTHON' || true
import os

import boto3

boto3.client("cloudformation", region_name=os.environ["REGION"]).signal_resource(
    StackName=os.environ["STACK"],
    LogicalResourceId=os.environ["GROUP"],
    UniqueId=os.environ["INSTANCE"],
    Status=os.environ["STATUS"],
)
PYTHON
}

instance_metadata() {
  curl --fail --silent --show-error --max-time 10 "${@:1:$#-1}" "http://169.254.169.254/latest/${!#}"
}
trap tell EXIT

# Downloads and package mirrors may need a moment while the network comes up.
again() {
  local attempt
  for attempt in 1 2 3 4 5; do
    "$@" && return
    echo "trainforge: '$1' failed (attempt $attempt of 5)" >&2
    sleep $((attempt * ${RETRY_SECONDS:-10}))
  done
  return 1
}

install_packages() {
  apt-get -o DPkg::Lock::Timeout=300 update &&
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends \
      python3-boto3 musl libfontconfig1
}

install_grafana() {
  local archive
  archive="$(mktemp)"
  curl --fail --silent --show-error --location --output "$archive" \
    "https://dl.grafana.com/oss/release/grafana-$VERSION.linux-amd64.tar.gz" || return
  if ! echo "$SHA256  $archive" | sha256sum --check --status; then
    echo "trainforge: the archive of Grafana $VERSION has another digest than $SHA256: nothing of it was installed" >&2
    exit 1
  fi
  mkdir -p "$home" && tar --extract --gzip --file "$archive" --directory "$home" --strip-components 1
  rm -f "$archive"
}

# The password of the user admin stays out of the user data, of the environment and of logs.
fetch() {
  install -d -m 0750 "$etc" "$etc/provisioning/datasources" "$etc/provisioning/dashboards" "$etc/dashboards"
  SECRET="$SECRET" BUCKET="$BUCKET" PREFIX="$PREFIX" REGION="$REGION" ETC="$etc" python3 - <<'PYTHON'
import os
import pathlib

import boto3

etc = pathlib.Path(os.environ["ETC"])
region = os.environ["REGION"]
secret = boto3.client("secretsmanager", region_name=region).get_secret_value(SecretId=os.environ["SECRET"])
password = etc / "admin-password"
password.touch(mode=0o640)
password.write_text(secret["SecretString"])
s3 = boto3.client("s3", region_name=region)
pages = s3.get_paginator("list_objects_v2").paginate(Bucket=os.environ["BUCKET"], Prefix=os.environ["PREFIX"] + "/")
for page in pages:
    for item in page.get("Contents", []):
        s3.download_file(os.environ["BUCKET"], item["Key"], str(etc / "dashboards" / pathlib.Path(item["Key"]).name))
PYTHON
}

provision() {
  # Dashboards name Prometheus' own type of data source, and the one that signs has another.
  sed --in-place --regexp-extended \
    's/"(type|query)": "prometheus"/"\1": "grafana-amazonprometheus-datasource"/' "$etc"/dashboards/*.json
  cat >"$etc/provisioning/datasources/trainforge.yaml" <<YAML
apiVersion: 1
datasources:
  - uid: prometheus
    name: Prometheus
    type: grafana-amazonprometheus-datasource
    access: proxy
    url: $METRICS_URL
    isDefault: true
    jsonData:
      {httpMethod: POST, alertmanagerUid: alertmanager, sigV4Auth: true, sigV4AuthType: default, sigV4Region: $REGION,
       timeInterval: ${SCRAPE_SECONDS}s}
  - uid: alertmanager
    name: Alert manager
    type: alertmanager
    access: proxy
    url: $METRICS_URL/alertmanager
    jsonData: {implementation: prometheus, sigV4Auth: true, sigV4AuthType: default, sigV4Region: $REGION}
  - uid: cloudwatch
    name: CloudWatch
    type: cloudwatch
    access: proxy
    jsonData: {authType: default, defaultRegion: $REGION}
YAML
  cat >"$etc/provisioning/dashboards/trainforge.yaml" <<YAML
apiVersion: 1
providers:
  - name: trainforge
    folder: trainforge
    type: file
    allowUiUpdates: false
    options: {path: $etc/dashboards}
YAML
  # Sessions of Session Manager forward a port of this machine: nothing listens outside it.
  cat >"$etc/grafana.ini" <<INI
[paths]
data = $state
plugins = $state/plugins
provisioning = $etc/provisioning
[log]
mode = console
[server]
http_addr = $ADDRESS
http_port = 3000
[security]
admin_user = admin
admin_password = \$__file{$etc/admin-password}
[auth]
sigv4_auth_enabled = true
[users]
allow_sign_up = false
[analytics]
reporting_enabled = false
check_for_updates = false
INI
}

install_plugin() {
  "$home/bin/grafana" cli --homepath "$home" --pluginsDir "$state/plugins" plugins install \
    grafana-amazonprometheus-datasource "$PLUGIN"
}

start() {
  id grafana >/dev/null 2>&1 || useradd --system --home-dir "$state" --shell /usr/sbin/nologin grafana
  chown -R grafana:grafana "$state"
  chgrp -R grafana "$etc"
  cat >"${ROOT:-}/etc/systemd/system/grafana.service" <<UNIT
# Written by trainforge.
[Unit]
Description=Grafana
After=network-online.target
Wants=network-online.target

[Service]
User=grafana
Group=grafana
ExecStart=$home/bin/grafana server --homepath $home --config $etc/grafana.ini
Restart=on-failure
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ReadWritePaths=$state

[Install]
WantedBy=multi-user.target
UNIT
  systemctl daemon-reload
  systemctl enable --now grafana.service
}

again install_packages
again install_grafana
mkdir -p "$state/plugins"
again fetch
provision
again install_plugin
start
again curl --fail --silent --show-error --output /dev/null --retry 5 --retry-connrefused "http://$ADDRESS:3000/api/health"
