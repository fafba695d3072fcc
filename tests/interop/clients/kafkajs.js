// SPDX-License-Identifier: Apache-2.0
// kafkajs as one of the clients of kafka_clients.py; JOBS.md says what a job is.
'use strict';

const fs = require('fs');
const {
  AssignerProtocol, CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel,
} = require('kafkajs');
const lz4 = require('lz4js');
const snappy = require('kafkajs-snappy');
const zstd = require('@bokuweb/zstd-wasm');
const { decode, encode, tell, run } = require('./job');

const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};

// kafkajs has gzip only; the others are put in as its documentation says.
CompressionCodecs[CompressionTypes.Snappy] = snappy;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async (buffer) => Buffer.from(zstd.decompress(buffer)),
});

function open(work) {
  const options = {
    clientId: 'interop-kafkajs', brokers: [work.servers], logLevel: logLevel.ERROR, retry: { retries: 8 },
  };
  const { protocol = 'PLAINTEXT', mechanism, user, password, ca } = work.security || {};
  if (protocol.endsWith('SSL')) options.ssl = ca ? { ca: [fs.readFileSync(ca, 'utf8')] } : true;
  if (protocol.startsWith('SASL'))
    options.sasl = { mechanism: mechanism.toLowerCase(), username: user, password };
  return new Kafka(options);
}

// The answer tells the first offset in each partition; the records of a partition follow it in order.
async function produce(work) {
  const producer = open(work).producer({
    idempotent: work.idempotent || false, maxInFlightRequests: work.idempotent ? 1 : null,
  });
  await producer.connect();
  const last = {};
  const places = [];
  const messages = work.records.map((record) => ({
    partition: record.partition,
    key: decode(record.key),
    value: decode(record.value),
    timestamp: record.timestamp === undefined ? undefined : String(record.timestamp),
    headers: headersOf(record),
  }));
  const told = await producer.send({
    topic: work.topic, acks: work.acks === undefined ? -1 : work.acks, compression: CODECS[work.codec || 'none'],
    messages,
  });
  for (const one of told) last[one.partition] = Number(one.baseOffset);
  for (const record of work.records) {
    places.push({ partition: record.partition, offset: last[record.partition] });
    last[record.partition] += 1;
  }
  places.forEach(tell);
  await producer.disconnect();
}

// A name that comes twice has a list of values.
function headersOf(record) {
  const headers = {};
  for (const [name, value] of record.headers || [])
    headers[name] = name in headers ? [].concat(headers[name], [decode(value)]) : decode(value);
  return headers;
}

function toldRecord(partition, message) {
  const headers = [];
  for (const [name, value] of Object.entries(message.headers || {}))
    for (const one of [].concat(value)) headers.push([name, encode(one)]);
  return {
    partition,
    offset: Number(message.offset),
    timestamp: Number(message.timestamp),
    key: encode(message.key),
    value: encode(message.value),
    headers,
  };
}

// kafkajs can read with a group only: one of its own, from the beginning.
async function consume(work) {
  const kafka = open(work);
  const consumer = kafka.consumer({
    groupId: `interop-kafkajs-${process.pid}`, sessionTimeout: 6000, heartbeatInterval: 500, maxBytes: 50000000,
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [work.topic], fromBeginning: true });
  let left = work.count;
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, (event) => reject(event.payload.error));
    consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        if (left <= 0 || !work.partitions.includes(partition)) return;
        if (Number(message.offset) < (work.from || 0)) return;
        tell(toldRecord(partition, message));
        left -= 1;
        if (left === 0) resolve();
      },
    }).catch(reject);
  });
  await consumer.disconnect();
}

async function time(work) {
  const admin = open(work).admin();
  await admin.connect();
  const told = await admin.fetchTopicOffsetsByTimestamp(work.topic, work.timestamp);
  const found = told.find((one) => one.partition === work.partition);
  tell({ offset: Number(found.offset) });
  await admin.disconnect();
}

async function group(work) {
  const consumer = open(work).consumer({
    groupId: work.group, sessionTimeout: work.session_ms || 6000, heartbeatInterval: 500,
    rebalanceTimeout: 10000,
    ...(work.assignor === 'range' ? { partitionAssigners: [rangeAssigner] } : {}),
  });
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    const partitions = Object.values(payload.memberAssignment).flat().sort((a, b) => a - b);
    tell({ event: 'assigned', partitions });
  });
  consumer.on(consumer.events.REBALANCING, () => tell({ event: 'revoked', partitions: [] }));
  await consumer.connect();
  await consumer.subscribe({ topics: work.topics, fromBeginning: true });
  const ended = new Promise((resolve) => process.once('SIGTERM', resolve));
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ topic, partition, message }) => {
      tell({ event: 'record', ...toldRecord(partition, message) });
      await consumer.commitOffsets([{ topic, partition, offset: String(Number(message.offset) + 1) }]);
    },
  });
  await ended;
  await consumer.disconnect();
}

// Kafka's range, which kafkajs does not have: so that it can be in one group with the others.
const rangeAssigner = ({ cluster }) => ({
  name: 'range',
  version: 1,
  async assign({ members, topics }) {
    const ids = members.map(({ memberId }) => memberId).sort();
    const plan = Object.fromEntries(ids.map((id) => [id, {}]));
    for (const topic of topics) {
      const partitions = cluster.findTopicPartitionMetadata(topic).map((p) => p.partitionId).sort((a, b) => a - b);
      const each = Math.floor(partitions.length / ids.length);
      const more = partitions.length % ids.length;
      ids.forEach((id, i) => {
        const first = i * each + Math.min(i, more);
        plan[id][topic] = partitions.slice(first, first + each + (i < more ? 1 : 0));
      });
    }
    return ids.map((id) => ({
      memberId: id,
      memberAssignment: AssignerProtocol.MemberAssignment.encode({
        version: 0, assignment: plan[id], userData: Buffer.alloc(0),
      }),
    }));
  },
  protocol({ topics }) {
    return {
      name: 'range',
      metadata: AssignerProtocol.MemberMetadata.encode({ version: 0, topics, userData: Buffer.alloc(0) }),
    };
  },
});

async function step(admin, name, ...given) {
  const entries = (config) => Object.entries(config).map(([n, value]) => ({ name: n, value: String(value) }));
  switch (name) {
    case 'create':
      return admin.createTopics({
        topics: [{
          topic: given[0], numPartitions: given[1], replicationFactor: 1, configEntries: entries(given[2]),
        }],
        waitForLeaders: true,
      });
    case 'grow':
      return admin.createPartitions({ topicPartitions: [{ topic: given[0], count: given[1] }] });
    case 'delete':
      await admin.deleteTopics({ topics: given });
      return true;
    case 'alter':
      await admin.alterConfigs({
        validateOnly: false,
        resources: [{ type: ConfigResourceTypes.TOPIC, name: given[0], configEntries: entries(given[1]) }],
      });
      return true;
    case 'configs': {
      const told = await admin.describeConfigs({
        includeSynonyms: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: given[0] }],
      });
      return Object.fromEntries(told.resources[0].configEntries.map((e) => [e.configName, e.configValue]));
    }
    case 'topics': {
      const told = await admin.fetchTopicMetadata();
      return Object.fromEntries(told.topics.map((t) => [t.name, t.partitions.length]));
    }
    case 'groups':
      return (await admin.listGroups()).groups.map((g) => g.groupId).sort();
    default:
      throw new Error(`no step ${name}`);
  }
}

async function administer(work) {
  const admin = open(work).admin();
  await admin.connect();
  for (const [name, ...given] of work.steps) tell({ step: name, result: await step(admin, name, ...given) });
  await admin.disconnect();
}

zstd.init().then(() => run({ produce, consume, time, group, admin: administer }));
