/** The architecture document's sample, as written there; only the imports it leaves out are added. */

import { useEffect } from 'react';

import { useWebSocket } from '@/system/hooks/useWebSocket';
import { useAuthStore } from '@/system/stores/useAuthStore';

function WalletPage() {
  const { subscribeToUser } = useWebSocket();
  const user = useAuthStore((state) => state.user);

  useEffect(() => {
    if (!user) return;

    const unsubscribe = subscribeToUser(user.id, (data) => {
      console.log('Wallet updated:', data);
      // Update balance display
    });

    return unsubscribe;
  }, [user?.id, subscribeToUser]);
}

export { WalletPage };
