// A stock pusher-js or laravel-echo client steered over stdin and seen on stdout, one JSON object per line.
//
// argv[2]: {"library":"echo"|"pusher", "key", "host", "port", "token"?, "authUrl"?, "userAuthUrl"?, "options"?}
// stdin:   {"do":"subscribe","channel"}   wire name; every event on it is reported
//          {"do":"listen","channel","event"}   laravel-echo only: Echo's names, as a front end writes them
//          {"do":"presence","channel"} {"do":"whisper","channel","event","data"}   laravel-echo only: here, joining, leaving
//          {"do":"user"}   events for the signed-in user and its watchlist, on the channels #user and #watchlist
//          {"do":"unsubscribe","channel"} {"do":"trigger","channel","event","data"} {"do":"signin"}
//          {"do":"disconnect"} {"do":"connect"} {"do":"token","token"} {"do":"end"}
// stdout:  {"type":"state","current","socketId","at"} {"type":"subscribed","channel","data"} {"type":"refused","channel","data"}
//          {"type":"event","channel","event","data","userId"?,"at"} {"type":"frame","frame"} {"type":"error","error","at"}
//          "at": Unix milliseconds with a fraction, by this process' clock

import { createInterface } from 'node:readline';
import EchoModule from 'laravel-echo';
import PusherModule from 'pusher-js';

const Echo = EchoModule.default ?? EchoModule;
const Pusher = PusherModule.default ?? PusherModule;
const config = JSON.parse(process.argv[2]);
let token = config.token;

const report = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const now = () => performance.timeOrigin + performance.now();

const authHeaders = () => (token === undefined ? {} : { Authorization: `Bearer ${token}` });
const auth = (endpoint) => ({ transport: 'ajax', endpoint, headersProvider: authHeaders });

const options = {
  cluster: '',
  wsHost: config.host,
  wsPort: config.port,
  wssPort: config.port,
  httpHost: config.host,
  httpPort: config.port,
  forceTLS: false,
  disableStats: true,
  enabledTransports: ['ws'],
  ...(config.authUrl === undefined ? {} : { channelAuthorization: auth(config.authUrl) }),
  ...(config.userAuthUrl === undefined ? {} : { userAuthentication: auth(config.userAuthUrl) }),
  ...config.options,
};

const echo =
  config.library === 'echo'
    ? new Echo({ broadcaster: 'reverb', key: config.key, Pusher, ...options })
    : undefined;
const pusher = echo === undefined ? new Pusher(config.key, options) : echo.connector.pusher;

const connection = pusher.connection;
connection.bind('state_change', ({ current }) =>
  report({ type: 'state', current, socketId: connection.socket_id ?? null, at: now() }),
);
connection.bind('error', (error) => report({ type: 'error', error: describe(error), at: now() }));
connection.bind('message', (frame) => report({ type: 'frame', frame }));
report({ type: 'state', current: connection.state, socketId: connection.socket_id ?? null, at: now() });

function describe(error) {
  const data = error?.data ?? error?.error?.data ?? error;
  return data instanceof Error ? { message: data.message } : (data ?? null);
}

function watch(channel) {
  channel.bind_global((event, data, metadata) => {
    const { name } = channel;
    if (event === 'pusher:subscription_succeeded') {
      report({ type: 'subscribed', channel: name, data: data?.members ? { count: data.count, me: data.me, members: data.members } : data });
    } else if (event === 'pusher:subscription_error') {
      report({ type: 'refused', channel: name, data });
    } else {
      report({ type: 'event', channel: name, event, data, userId: metadata?.user_id, at: now() });
    }
  });
}

function echoChannel(wireName) {
  for (const [prefix, method] of [
    ['private-encrypted-', 'encryptedPrivate'],
    ['private-', 'private'],
    ['presence-', 'join'],
  ]) {
    if (wireName.startsWith(prefix)) return echo[method](wireName.slice(prefix.length));
  }
  return echo.channel(wireName);
}

const commands = {
  subscribe({ channel }) {
    watch(pusher.channel(channel) ?? pusher.subscribe(channel));
  },
  listen({ channel, event }) {
    echoChannel(channel).listen(event, (data) => report({ type: 'event', channel, event, data, at: now() }));
  },
  presence({ channel }) {
    const tell = (event) => (data) => report({ type: 'event', channel, event, data, at: now() });
    echoChannel(channel)
      .here(tell('here'))
      .joining(tell('joining'))
      .leaving(tell('leaving'))
      .error((data) => report({ type: 'refused', channel, data }));
  },
  whisper({ channel, event, data }) {
    echoChannel(channel).whisper(event, data);
  },
  user() {
    pusher.user.bind_global((event, data) => report({ type: 'event', channel: '#user', event, data, at: now() }));
    for (const event of ['online', 'offline']) {
      pusher.user.watchlist.bind(event, (data) =>
        report({ type: 'event', channel: '#watchlist', event, data, at: now() }),
      );
    }
  },
  unsubscribe({ channel }) {
    if (echo === undefined) pusher.unsubscribe(channel);
    else echo.leaveChannel(channel);
  },
  trigger({ channel, event, data }) {
    pusher.channel(channel).trigger(event, data);
  },
  signin() {
    pusher.signin();
  },
  disconnect() {
    pusher.disconnect();
  },
  connect() {
    pusher.connect();
  },
  token({ token: fresh }) {
    token = fresh;
  },
  end() {
    process.exit(0);
  },
};

const input = createInterface({ input: process.stdin });
input.on('line', (line) => {
  const command = JSON.parse(line);
  try {
    commands[command.do](command);
  } catch (error) {
    report({ type: 'error', error: { message: String(error) }, at: now() });
  }
});
input.on('close', () => process.exit(0));
