/** The architecture document's sample, as written there; only the imports it leaves out are added. */

import { useEffect } from 'react';

import { useWebSocket } from '@/system/hooks/useWebSocket';

function ClaimedJobPage({ jobId }) {
  const { subscribeToJob } = useWebSocket();

  useEffect(() => {
    const unsubscribe = subscribeToJob(jobId, (data) => {
      console.log('Job updated:', data);
      // Update job status
    });

    return unsubscribe;
  }, [jobId, subscribeToJob]);
}

export { ClaimedJobPage };
