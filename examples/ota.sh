#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# A device updates itself, on a Debian 12 that may have nothing yet:
#
#     sh examples/ota.sh          # over HTTPS, four connections at a time
#     sh examples/ota.sh --mqtt   # block by block over MQTT
#
# Installs the packages that are missing, builds ota-agent and ota-platform into build/ota, starts a
# mosquitto and an nginx on the loopback, both over TLS, with certificates made on the spot, and runs
# an update from version 1.0 to 2.0 between the two programs, who draw what happens. What else is
# given is for ota-platform, as --expire-after 1M. Ends by itself: with 0 if the platform has been
# told the new version by the device that runs it. Leaves nothing behind but the build.
#
# With OTA_BIN set to a directory, the programs there are used, and nothing is built.

set -eu
cd "$(dirname "$0")/.."

. .ci/packages.sh
need_packages g++ cmake ninja-build libasio-dev libssl-dev libcli11-dev nlohmann-json3-dev \
    libmosquitto-dev mosquitto nginx-light openssl

work=$(mktemp -d)
mosquitto=
nginx=
platform=
agent=
clean_up() {
    for process in $agent $platform $nginx $mosquitto; do kill "$process" 2>/dev/null || :; done
    wait
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "ota: $1" >&2
    exit 1
}

bin=${OTA_BIN:-}
if [ -z "$bin" ]; then
    echo "== Building ota-agent and ota-platform (a minute or so the first time)"
    bin=build/ota/bin
    {
        cmake --preset release -B build/ota -DCLEAVE_BUILD_TESTS=OFF -DCLEAVE_BUILD_FUZZ=OFF &&
            cmake --build build/ota --target ota-agent ota-platform
    } >"$work/build.log" 2>&1 || {
        cat "$work/build.log" >&2
        fail "the build failed"
    }
fi

echo "== Making certificates: a CA, and one for localhost"
{
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj "/CN=cleave example CA" -keyout "$work/ca.key" -out "$work/ca.pem" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
        -keyout "$work/server.key" -out "$work/server.csr"
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >"$work/server.ext"
    openssl x509 -req -in "$work/server.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" \
        -CAcreateserial -days 2 -extfile "$work/server.ext" -out "$work/server.pem"
} >"$work/openssl.log" 2>&1 || {
    cat "$work/openssl.log" >&2
    fail "the certificates could not be made"
}

# A port is free until somebody takes it, so several are tried: start <name> <function>, where the
# function writes the configuration for $port and starts the program as $started.
ports=0
start() {
    tries=0
    while :; do
        ports=$((ports + 1))
        port=$((20000 + ($$ * 7 + ports * 1013) % 12000))
        $2
        waited=0
        while kill -0 "$started" 2>/dev/null && [ $waited -lt 100 ]; do
            if openssl s_client -connect "127.0.0.1:$port" -CAfile "$work/ca.pem" \
                -verify_return_error </dev/null >/dev/null 2>&1; then
                # Unless it is somebody else who answers there.
                if kill -0 "$started" 2>/dev/null; then return 0; fi
            fi
            waited=$((waited + 1))
            sleep 0.1
        done
        kill "$started" 2>/dev/null || :
        tries=$((tries + 1))
        [ $tries -lt 5 ] || {
            cat "$work/$1.log" >&2
            fail "$1 does not start"
        }
    done
}

as_root=
if [ "$(id -u)" = 0 ]; then as_root="user root"; fi

start_mosquitto() {
    cat >"$work/mosquitto.conf" <<EOF
listener $port 127.0.0.1
cafile $work/ca.pem
certfile $work/server.pem
keyfile $work/server.key
allow_anonymous true
persistence false
set_tcp_nodelay true
${as_root}
EOF
    PATH=$PATH:/usr/sbin mosquitto -c "$work/mosquitto.conf" >"$work/mosquitto.log" 2>&1 &
    started=$!
    mosquitto=$started
}

# Each request for a file is let through or not by what the platform answers to its link.
start_nginx() {
    cat >"$work/nginx.conf" <<EOF
${as_root:+$as_root root;}
daemon off;
master_process off;
pid $work/nginx.pid;
error_log $work/nginx.log;
events { worker_connections 256; }
http {
    access_log off;
    default_type application/octet-stream;
    client_body_temp_path $work/tmp-body;
    proxy_temp_path $work/tmp-proxy;
    fastcgi_temp_path $work/tmp-fastcgi;
    uwsgi_temp_path $work/tmp-uwsgi;
    scgi_temp_path $work/tmp-scgi;
    server {
        listen 127.0.0.1:$port ssl;
        ssl_certificate $work/server.pem;
        ssl_certificate_key $work/server.key;
        root $work/www;
        location / { auth_request /gate; }
        location = /gate {
            internal;
            proxy_pass http://unix:$work/gate:/;
            proxy_set_header X-Original-URI \$request_uri;
        }
    }
}
EOF
    PATH=$PATH:/usr/sbin nginx -p "$work" -c "$work/nginx.conf" 2>>"$work/nginx.log" &
    started=$!
    nginx=$started
}

mkdir "$work/www"
start mosquitto start_mosquitto
mqtt_port=$port
start nginx start_nginx
https_port=$port
echo "== mosquitto on port $mqtt_port, nginx on port $https_port"

echo
echo "time       the device                                          the platform"
"$bin/ota-platform" --port "$mqtt_port" --ca "$work/ca.pem" --www "$work/www" \
    --url "https://localhost:$https_port" --gate "$work/gate" --ready-file "$work/ready" \
    "$@" &
platform=$!
while [ ! -e "$work/ready" ]; do
    kill -0 "$platform" 2>/dev/null || fail "the platform does not start"
    sleep 0.1
done
"$bin/ota-agent" --port "$mqtt_port" --ca "$work/ca.pem" --dir "$work/device" \
    --limit-rate 1M --once &
agent=$!

# What the platform says counts, and it says it at its deadline at the latest.
code=0
wait "$platform" || code=$?
platform=
if [ $code = 0 ]; then
    wait "$agent" || code=$?
    agent=
fi
echo
if [ $code != 0 ]; then fail "the platform was not told the new version, or the device failed"; fi
echo "ota: done. The device runs version 2.0, and the platform knows it from the device alone."
