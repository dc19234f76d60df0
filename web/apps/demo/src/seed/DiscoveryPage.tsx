/** The architecture document's sample, as written there; only the imports it leaves out are added. */

import { useEffect } from 'react';
import { useWebSocket } from '@/system/hooks/useWebSocket';

function DiscoveryPage() {
  const { subscribeToDiscovery } = useWebSocket();

  useEffect(() => {
    const unsubscribe = subscribeToDiscovery((data) => {
      console.log('New job posted:', data.job);
      // Add to discovery feed
    });

    return unsubscribe;
  }, [subscribeToDiscovery]);
}

export { DiscoveryPage };
