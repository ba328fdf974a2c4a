#!/usr/bin/env bash
# One node of Apache Kafka (KRaft) in a throwaway directory, for tests: needs Java 17 and Maven, which fetches the jars.
#
#   scripts/kafka.sh run COMMAND...   starts a node, runs the command with KAFKA_BROKERS and KAFKA_CONTROL, and ends it
#   scripts/kafka.sh down | up | pause | resume      what the tests do to the node, once it runs
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
jars=${CARGO_TARGET_DIR:-$root/target}/kafka/jars

fetch() {
    (cd "$jars" 2>/dev/null && sha256sum --check --quiet "$root/scripts/kafka/SHA256SUMS" 2>/dev/null) && return
    rm -rf "$jars"
    mvn --quiet --batch-mode --file "$root/scripts/kafka/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$jars"
    # Nothing else may be on the class path, and nothing that is not the one we know.
    (cd "$jars" && sha256sum --check --quiet "$root/scripts/kafka/SHA256SUMS")
    [ "$(find "$jars" -name '*.jar' | wc -l)" = "$(wc -l <"$root/scripts/kafka/SHA256SUMS")" ]
}

java_with_kafka() { exec java -Xmx512m -cp "$jars/*" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn "$@"; }

# A port that is free now.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

up() {
    (java_with_kafka kafka.Kafka "$KAFKA_HOME/server.properties") >>"$KAFKA_HOME/log" 2>&1 &
    echo $! >"$KAFKA_HOME/pid"
    for _ in $(seq 600); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$KAFKA_PORT") 2>/dev/null; then return; fi
        kill -0 "$(cat "$KAFKA_HOME/pid")" || { tail "$KAFKA_HOME/log"; return 1; }
        sleep 0.1
    done
    return 1
}

down() {
    local pid
    pid=$(cat "$KAFKA_HOME/pid")
    # Killed, as in an accident: who ends in order hands over what it leads.
    kill -KILL "$pid"
    # Whoever is dead and not buried has a state, and nothing else.
    while kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$pid/status"; do sleep 0.1; done
}

run() {
    fetch
    KAFKA_HOME=$(mktemp -d)
    KAFKA_PORT=$(free_port)
    export KAFKA_HOME KAFKA_PORT
    trap 'down 2>/dev/null || true; rm -rf "$KAFKA_HOME"' EXIT
    local controller
    controller=$(free_port)
    cat >"$KAFKA_HOME/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT
controller.listener.names=CONTROLLER
log.dirs=$KAFKA_HOME/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=2000
auto.create.topics.enable=false
EOF
    (java_with_kafka kafka.tools.StorageTool format --cluster-id AAAAAAAAAAAAAAAAAAAAAA \
        --config "$KAFKA_HOME/server.properties") >>"$KAFKA_HOME/log" 2>&1
    up
    KAFKA_BROKERS=127.0.0.1:$KAFKA_PORT KAFKA_CONTROL=$root/scripts/kafka.sh "$@"
}

case ${1:-} in
run) shift; run "$@" ;;
up) up ;;
down) down ;;
pause) kill -STOP "$(cat "$KAFKA_HOME/pid")" ;;
resume) kill -CONT "$(cat "$KAFKA_HOME/pid")" ;;
*) sed -n '2,6p' "$0"; exit 2 ;;
esac
