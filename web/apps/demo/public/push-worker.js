/** Shows Web Push messages; a click opens the job they are about. */

self.addEventListener("push", (event) => {
  const { title = "SharedJox", body = "", jobId = null } = event.data?.json() ?? {};
  event.waitUntil(
    self.registration.showNotification(title, { body, icon: "/icon.svg", tag: `${title}:${jobId}`, data: { jobId } }),
  );
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const { jobId } = event.notification.data ?? {};
  const address = jobId ? `/#/jobs/${jobId}` : "/#/notifications";
  event.waitUntil(open(address));
});

async function open(address) {
  const pages = await self.clients.matchAll({ type: "window" });
  const page = pages[0];
  if (!page) return self.clients.openWindow(address);
  await page.focus();
  return page.navigate(address);
}
