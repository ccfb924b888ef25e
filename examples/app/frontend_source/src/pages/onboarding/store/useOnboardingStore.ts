// Where a newcomer stands: whose businesses these are, and whether the one that is chosen has the key it cannot do without.
// No key is ever kept here. `setGeminiApiKey` sends one on and forgets it.

import { create } from 'zustand'
import { upsertSecrets } from '../../../lib/businessSecrets.js'
import { supabase } from '../../../lib/supabase.js'

interface Business {
  id: string
  name: string | null
}

interface OnboardingState {
  status: 'loading' | 'needs_key' | 'ready' | 'no_business' | 'failed'
  businesses: Business[]
  businessId: string | null
  error: string | null
  initSession: () => Promise<void>
  choose: (businessId: string) => Promise<void>
  setGeminiApiKey: (key: string) => Promise<boolean>
  skip: () => void
  reset: () => void
}

const empty = { status: 'loading' as const, businesses: [], businessId: null, error: null }

const useOnboardingStore = create<OnboardingState>()((set, get) => ({
  ...empty,

  async initSession() {
    set(empty)
    const { data, error } = await supabase.from('businesses').select('id, name').order('name')
    if (error) return set({ status: 'failed', error: 'Your businesses could not be loaded.' })
    if (data.length === 0) return set({ status: 'no_business' })
    set({ businesses: data })
    await get().choose(data[0].id)
  },

  async choose(businessId) {
    // The sealed table holds references: whether there is one is all that is asked, and nothing is decrypted.
    const { data, error } = await supabase
      .from('business_secrets')
      .select('gemini_api_key')
      .eq('business_id', businessId)
      .maybeSingle()
    if (error) return set({ status: 'failed', error: 'Your settings could not be loaded.' })
    set({ businessId, error: null, status: data?.gemini_api_key ? 'ready' : 'needs_key' })
  },

  async setGeminiApiKey(key) {
    const { businessId } = get()
    if (!businessId) return false
    try {
      await upsertSecrets(businessId, { gemini_api_key: key })
      set({ status: 'ready', error: null })
      return true
    } catch (error) {
      set({ error: (error as Error).message })
      return false
    }
  },

  skip: () => set({ status: 'ready', error: null }),
  reset: () => set(empty),
}))

export default useOnboardingStore
