// Two people with stock laravel-echo and pusher-js: what the client and the freelancer of the demo see live.
//   node listen.mjs            API_URL and REVERB_PORT say where, when not on the usual ports

import Echo from 'laravel-echo';
import PusherModule from 'pusher-js';

const Pusher = PusherModule.default ?? PusherModule;
const api = process.env.API_URL ?? 'http://localhost:8000';
const port = Number(process.env.REVERB_PORT ?? 8080);

async function logIn(name) {
  const answer = await fetch(`${api}/api/auth/login`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ email: `${name}@sharedjox.test`, password: 'password' }),
  });
  if (!answer.ok) throw new Error(`log-in of ${name} failed: ${await answer.text()}`);
  return answer.json();
}

function connect(token) {
  return new Echo({
    broadcaster: 'reverb',
    key: 'sharedjox',
    wsHost: 'localhost',
    wsPort: port,
    forceTLS: false,
    enabledTransports: ['ws'],
    authEndpoint: `${api}/broadcasting/auth`,
    auth: { headers: { Authorization: `Bearer ${token}` } }, // bearerToken would be shared by all Echos of a process
    Pusher,
  });
}

const print = (who, event) => (data) => console.log(`${who} ${event} ${JSON.stringify(data)}`);
const joined = (channel) => new Promise((resolve, reject) => channel.subscribed(resolve).error(reject));

const [client, freelancer] = await Promise.all([logIn('client'), logIn('freelancer')]);
const clientEcho = connect(client.accessToken);
const freelancerEcho = connect(freelancer.accessToken);

// The freelancer watches the market and the own wallet.
const discovery = freelancerEcho.channel('jobs.discovery').listen('.job.posted', print('freelancer', 'job.posted'));
const wallet = freelancerEcho
  .private(`user.${freelancer.user.id}`)
  .listen('.wallet.updated', print('freelancer', 'wallet.updated'));

// The client hears of claims, and follows each job that was posted.
const own = clientEcho.private(`user.${client.user.id}`).listen('.job.claimed', print('client', 'job.claimed'));
const posts = clientEcho.channel('jobs.discovery').listen('.job.posted', ({ job }) => {
  if (job.clientId !== client.user.id) return;
  const followed = clientEcho.private(`job.${job.id}`).listen('.job.updated', print('client', 'job.updated'));
  joined(followed).then(() => console.log(`client follows private-job.${job.id}`));
});

await Promise.all([discovery, wallet, own, posts].map(joined));
console.log('listening');
