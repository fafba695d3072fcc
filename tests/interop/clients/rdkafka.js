// SPDX-License-Identifier: Apache-2.0
// node-rdkafka (librdkafka) as one of the clients of kafka_clients.py; JOBS.md says what a job is.
'use strict';

const kafka = require('node-rdkafka');
const { decode, encode, tell, run } = require('./job');

const ASSIGN = kafka.CODES.ERRORS.ERR__ASSIGN_PARTITIONS;
const NAMES = {
  protocol: 'security.protocol',
  mechanism: 'sasl.mechanism',
  user: 'sasl.username',
  password: 'sasl.password',
  ca: 'ssl.ca.location',
};

function settings(work, more) {
  const common = { 'metadata.broker.list': work.servers, 'client.id': 'interop-node-rdkafka' };
  for (const [name, value] of Object.entries(work.security || {})) common[NAMES[name]] = value;
  return { ...common, ...more };
}

const connected = (client) => new Promise((resolve, reject) => {
  client.connect({ timeout: 30000 }, (error) => (error ? reject(error) : resolve()));
});
const disconnected = (client) => new Promise((resolve) => { client.disconnect(resolve); });
const done = (call) => new Promise((resolve, reject) => {
  call((error, value) => (error ? reject(error) : resolve(value)));
});

async function produce(work) {
  const producer = new kafka.Producer(settings(work, {
    dr_cb: true,
    'compression.codec': work.codec || 'none',
    'enable.idempotence': work.idempotent || false,
    'linger.ms': 20,
    'message.max.bytes': 20000000,
  }), { acks: work.acks === undefined ? -1 : work.acks });
  const places = [];
  producer.setPollInterval(10);
  const all = new Promise((resolve, reject) => {
    let left = work.records.length;
    producer.on('delivery-report', (error, report) => {
      if (error) reject(error);
      places[report.opaque] = { partition: report.partition, offset: report.offset };
      left -= 1;
      if (left === 0) resolve();
    });
  });
  await connected(producer);
  work.records.forEach((record, number) => {
    const headers = (record.headers || []).map(([name, value]) => ({ [name]: decode(value) }));
    producer.produce(work.topic, record.partition, decode(record.value), decode(record.key),
      record.timestamp, number, headers);
  });
  await all;
  places.forEach(tell);
  await disconnected(producer);
}

function toldRecord(message) {
  const headers = (message.headers || []).flatMap((one) => Object.entries(one));
  return {
    partition: message.partition,
    offset: message.offset,
    timestamp: message.timestamp,
    key: encode(message.key),
    value: encode(message.value),
    headers: headers.map(([name, value]) => [name, encode(value)]),
  };
}

async function consume(work) {
  const consumer = new kafka.KafkaConsumer(
    settings(work, { 'group.id': 'unused', 'enable.auto.commit': false, 'check.crcs': true }), {});
  await connected(consumer);
  consumer.assign(work.partitions.map((partition) => ({
    topic: work.topic, partition, offset: work.from || 0,
  })));
  let left = work.count;
  while (left > 0) {
    const messages = await done((told) => consumer.consume(Math.min(left, 100), told));
    messages.forEach((message) => tell(toldRecord(message)));
    left -= messages.length;
  }
  await disconnected(consumer);
}

async function time(work) {
  const consumer = new kafka.KafkaConsumer(settings(work, { 'group.id': 'unused' }), {});
  await connected(consumer);
  const asked = [{ topic: work.topic, partition: work.partition, offset: work.timestamp }];
  const found = await done((told) => consumer.offsetsForTimes(asked, 30000, told));
  tell({ offset: found[0].offset });
  await disconnected(consumer);
}

async function group(work) {
  const consumer = new kafka.KafkaConsumer(settings(work, {
    'group.id': work.group,
    'enable.auto.commit': false,
    'session.timeout.ms': work.session_ms || 6000,
    'heartbeat.interval.ms': 500,
    'partition.assignment.strategy': work.assignor || 'range',
    rebalance_cb(error, assignment) {
      const partitions = assignment.map((one) => one.partition).sort((a, b) => a - b);
      tell({ event: error.code === ASSIGN ? 'assigned' : 'revoked', partitions });
      if (error.code === ASSIGN) this.assign(assignment);
      else this.unassign();
    },
  }), { 'auto.offset.reset': 'earliest' });
  let ended = false;
  process.once('SIGTERM', () => { ended = true; });
  await connected(consumer);
  consumer.subscribe(work.topics);
  consumer.setDefaultConsumeTimeout(200);
  while (!ended) {
    const messages = await done((told) => consumer.consume(1, told));
    messages.forEach((message) => {
      tell({ event: 'record', ...toldRecord(message) });
      consumer.commitMessageSync(message);
    });
  }
  await disconnected(consumer);
}

// node-rdkafka's administration can create, grow and delete.
async function administer(work) {
  const admin = kafka.AdminClient.create(settings(work, {}));
  for (const [name, ...given] of work.steps) {
    if (name === 'create') {
      const config = Object.fromEntries(Object.entries(given[2]).map(([n, value]) => [n, String(value)]));
      const topic = { topic: given[0], num_partitions: given[1], replication_factor: 1, config };
      await done((told) => admin.createTopic(topic, 30000, told));
    } else if (name === 'grow') {
      await done((told) => admin.createPartitions(given[0], given[1], 30000, told));
    } else if (name === 'delete') {
      await done((told) => admin.deleteTopic(given[0], 30000, told));
    } else {
      throw new Error(`no step ${name}`);
    }
    tell({ step: name, result: true });
  }
  admin.disconnect();
}

run({ produce, consume, time, group, admin: administer });
